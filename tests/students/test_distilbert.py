"""BERT told as DistilBERT, against the BERT itself with its token types put to 0."""

import copy

import pytest
import torch
import transformers as hf
from students.tiny_shape import SMALL
from torch import nn

from hf_distill.errors import InputError
from hf_distill.students import create_student

CONFIG = {**SMALL, "max_position_embeddings": 32, "num_labels": 3}
HEADS = ["Model", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM"]
IDS = torch.randint(5, 99, (2, 9), generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])


def bert(head, **overrides):
    torch.manual_seed(0)
    model = getattr(hf, f"Bert{head}")(hf.BertConfig(**{**CONFIG, **overrides}))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def without_token_types(teacher):
    model = copy.deepcopy(teacher)
    model.base_model.embeddings.token_type_embeddings.weight.data.zero_()
    return model


def outputs(model):
    with torch.no_grad():
        found = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    return [*found.hidden_states, *(found[name] for name in ("logits", "start_logits", "end_logits") if name in found)]


@pytest.mark.parametrize("head", HEADS)
def test_with_all_layers_it_computes_what_bert_computes_without_token_types(head):
    teacher = bert(head, num_labels=2)
    student = create_student(teacher, num_layers=4, architecture="distil")
    assert type(student) is getattr(hf, f"DistilBert{head}")
    for of_student, of_bert in zip(outputs(student), outputs(without_token_types(teacher)), strict=True):
        torch.testing.assert_close(of_student, of_bert, rtol=1e-4, atol=1e-4)
    difference = outputs(student)[-1] - outputs(teacher)[-1]
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("head", HEADS)
def test_with_the_token_type_folded_it_computes_what_bert_computes_on_single_texts(head):
    teacher = bert(head, num_labels=2)
    before = copy.deepcopy(teacher.state_dict())
    student = create_student(teacher, num_layers=4, architecture="distil_folded")
    for of_student, of_bert in zip(outputs(student), outputs(teacher), strict=True):
        torch.testing.assert_close(of_student, of_bert, rtol=1e-4, atol=1e-4)
    assert all(values.equal(before[name]) for name, values in teacher.state_dict().items())


@pytest.mark.parametrize("path", ["bert.encoder.layer", "encoder.layer"])
def test_the_chosen_layers_are_taken_and_recorded(path, tmp_path):
    teacher = bert("ForSequenceClassification" if path.startswith("bert") else "Model")
    student = create_student(teacher, layers=[1, 3], architecture="distil")
    stack = path.replace("bert.", "distilbert.").replace("encoder", "transformer")
    assert student.config.distilled_from_layers == {stack: [1, 3]}
    for place, layer in enumerate([1, 3]):
        new, old = student.get_submodule(f"{stack}.{place}"), teacher.get_submodule(f"{path}.{layer}")
        pairs = {
            new.attention.q_lin: old.attention.self.query,
            new.attention.k_lin: old.attention.self.key,
            new.attention.v_lin: old.attention.self.value,
            new.attention.out_lin: old.attention.output.dense,
            new.sa_layer_norm: old.attention.output.LayerNorm,
            new.ffn.lin1: old.intermediate.dense,
            new.ffn.lin2: old.output.dense,
            new.output_layer_norm: old.output.LayerNorm,
        }
        for ours, theirs in pairs.items():
            assert ours.weight.equal(theirs.weight) and ours.bias.equal(theirs.bias)
            assert ours.weight.data_ptr() != theirs.weight.data_ptr()
    shorter = create_student(student, layers=[1])
    assert shorter.config.distilled_from_layers == {stack: [3]}
    student.save_pretrained(tmp_path)
    reloaded = type(student).from_pretrained(tmp_path)
    assert all(a.equal(b) for a, b in zip(outputs(student), outputs(reloaded), strict=True))


def test_the_poolers_weights_become_the_classifiers_first_layer():
    teacher = bert("ForSequenceClassification", classifier_dropout=0.3, hidden_dropout_prob=0.2)
    student = create_student(teacher, num_layers=4, architecture="distil")
    assert student.config.seq_classif_dropout == 0.3 and student.config.dropout == 0.2
    first_token = outputs(without_token_types(teacher))[-2][:, 0]
    with torch.no_grad():
        logits = teacher.classifier(torch.relu(teacher.bert.pooler.dense(first_token)))
    torch.testing.assert_close(outputs(student)[-1], logits, rtol=1e-4, atol=1e-4)


def test_the_heads_that_the_masked_language_model_ties_stay_tied():
    student = create_student(bert("ForMaskedLM"), architecture="distil")
    assert student.vocab_projector.weight is student.distilbert.embeddings.word_embeddings.weight


def test_names_of_labels_and_problem_type_are_kept():
    teacher = bert("ForSequenceClassification", id2label={0: "a", 1: "b", 2: "c"}, problem_type="regression")
    student = create_student(teacher, architecture="distil")
    assert student.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert student.config.problem_type == "regression"


def test_a_roberta_stays_one():
    teacher = hf.RobertaForSequenceClassification(hf.RobertaConfig(**CONFIG))
    assert type(create_student(teacher, architecture="distil")) is hf.RobertaForSequenceClassification


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda: hf.ElectraModel(hf.ElectraConfig(**CONFIG)), "ElectraModel, and only the families bert"),
        (lambda: hf.BertForPreTraining(hf.BertConfig(**CONFIG)), "no BertForPreTraining can become a DistilBERT"),
        (lambda: hf.BertForMaskedLM(hf.BertConfig(**CONFIG, is_decoder=True)), "a BERT decoder"),
    ],
)
def test_others_are_refused(teacher, message):
    with pytest.raises(InputError, match=message):
        create_student(teacher(), architecture="distil")
    with pytest.raises(InputError, match="architecture='rnn' is not known; choose one of same, distil"):
        create_student(bert("Model"), architecture="rnn")
