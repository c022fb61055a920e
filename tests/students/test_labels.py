"""The classes of a head in another order."""

import copy

import pytest
import torch
import transformers as hf
from torch import nn

from hf_distill.errors import InputError
from hf_distill.students import create_student, reorder_labels

NAMES = ["entailment", "neutral", "contradiction"]
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}
SMALL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "pad_token_id": 0,
    **LABELS,
}
IMAGE = {"image_size": 16, "patch_size": 8, **{key: SMALL[key] for key in SMALL if key.endswith(("layers", "heads"))}}
BART = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "eos_token_id": 2,
    **LABELS,
}
MODELS = {
    "bert": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SMALL)),
    "bert-tokens": lambda: hf.BertForTokenClassification(hf.BertConfig(**SMALL)),
    "roberta": lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**SMALL)),
    "roberta-tokens": lambda: hf.RobertaForTokenClassification(hf.RobertaConfig(**SMALL)),
    "distilbert": lambda: hf.DistilBertForSequenceClassification(
        hf.DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=37, **LABELS)
    ),
    "bart": lambda: hf.BartForSequenceClassification(hf.BartConfig(**BART)),
    "gpt2": lambda: hf.GPT2ForSequenceClassification(
        hf.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, pad_token_id=0, **LABELS)
    ),
    "modernbert": lambda: hf.ModernBertForSequenceClassification(
        hf.ModernBertConfig(**SMALL, classifier_bias=True, bos_token_id=1, eos_token_id=2)
    ),
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**IMAGE, hidden_size=32, **LABELS)),
    "deit-two-heads": lambda: hf.DeiTForImageClassificationWithTeacher(
        hf.DeiTConfig(**IMAGE, hidden_size=32, **LABELS)
    ),
    "three-wide": lambda: hf.BertForSequenceClassification(
        hf.BertConfig(**{**SMALL, "hidden_size": 3, "num_attention_heads": 1, "intermediate_size": 3})
    ),
}


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@torch.no_grad()
def logits(model):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 99, (4, 7), generator=generator)
    ids[:, -1] = 2
    if model.main_input_name == "pixel_values":
        return model(pixel_values=torch.randn(4, 3, 16, 16, generator=generator)).logits
    return model(input_ids=ids).logits


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("order", [[2, 0, 1], [0, 2, 1]])
def test_logits_are_permuted_and_nothing_else(name, order):
    model = randomised(MODELS[name]())
    before = logits(model)
    reorder_labels(model, [NAMES[index] for index in order])
    torch.testing.assert_close(logits(model), before[..., order], rtol=0, atol=1e-6)
    assert model.config.id2label == {place: NAMES[index] for place, index in enumerate(order)}
    assert model.config.label2id == {NAMES[index]: place for place, index in enumerate(order)}
    reorder_labels(model, NAMES)
    assert torch.equal(logits(model), before)


def test_weights_move_bit_for_bit_and_only_those_of_the_classes():
    model = randomised(MODELS["bert"]())
    before = copy.deepcopy(model)
    weight = model.classifier.weight
    reorder_labels(model, ["Contradiction", "ENTAILMENT", "neutral"])
    assert model.classifier.weight is weight
    assert torch.equal(weight, before.classifier.weight[[2, 0, 1]])
    assert torch.equal(model.classifier.bias, before.classifier.bias[[2, 0, 1]])
    for (name, tensor), (_, old) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        assert name.startswith("classifier") or torch.equal(tensor, old)
    assert model.config.id2label == {0: "Contradiction", 1: "ENTAILMENT", 2: "neutral"}


def test_the_right_order_moves_nothing():
    model = randomised(MODELS["bert"]())
    before = logits(model)
    reorder_labels(model, ["Entailment", "Neutral", "Contradiction"])
    assert torch.equal(logits(model), before)
    assert list(model.config.label2id) == ["Entailment", "Neutral", "Contradiction"]


def test_a_reordered_student_is_saved_with_its_labels(tmp_path):
    teacher = randomised(MODELS["bert"]())
    student = create_student(teacher, layers=[1])
    before = logits(student)
    reorder_labels(student, NAMES[::-1])
    student.save_pretrained(tmp_path)
    loaded = hf.BertForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(loaded), before.flip(-1), rtol=0, atol=1e-6)
    assert loaded.config.id2label == dict(enumerate(NAMES[::-1]))
    assert teacher.config.id2label == dict(enumerate(NAMES))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["entailment", "neutral"], "are not the model's"),
        (["entailment", "neutral", "other"], "are not the model's"),
        (["neutral", "neutral", "contradiction"], "are not the model's"),
    ],
)
def test_other_names_are_refused(names, message):
    model = MODELS["bert"]()
    with pytest.raises(InputError, match=message):
        reorder_labels(model, names)
    assert model.config.id2label == dict(enumerate(NAMES))


def test_names_that_differ_in_case_alone_are_refused():
    model = hf.BertForSequenceClassification(hf.BertConfig(**{**SMALL, "id2label": {0: "A", 1: "a"}}))
    with pytest.raises(InputError, match="repeat a name"):
        reorder_labels(model, ["a", "A"])


def test_a_model_without_a_head_is_refused():
    with pytest.raises(InputError, match="BertModel has no classification head"):
        reorder_labels(hf.BertModel(hf.BertConfig(**SMALL)), NAMES[::-1])
