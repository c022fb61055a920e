"""The text CNN: its values, its indifference to padding, and how it saves, loads and answers in a pipeline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy, gelu, layer_norm
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    pipeline,
    set_seed,
)

from hf_distill.errors import InputError
from hf_distill.problem_type import ProblemType, infer_problem_type
from hf_distill.students import create_student, reorder_labels
from hf_distill.students.cnn import TextCnnConfig, TextCnnForSequenceClassification, create_text_cnn
from hf_distill.students.cnn.text_cnn_creation import factorise
from hf_distill.students.layer_stacks import find_layer_stacks

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "plot", "the", "a", "is"]


def bert(**config):
    set_seed(0)
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    names = {"id2label": {0: "neg", 1: "pos", 2: "so-so"}, "label2id": {"neg": 0, "pos": 1, "so-so": 2}}
    return BertForSequenceClassification(
        BertConfig(**{"vocab_size": len(WORDS), **shape, "initializer_range": 0.3, **names, **config})
    ).eval()


def cnn(**config):
    set_seed(1)
    shape = {"vocab_size": 40, "embedding_rank": 4, "hidden_size": 8, "num_labels": 3, "initializer_range": 0.5}
    return TextCnnForSequenceClassification(TextCnnConfig(**{**shape, **config})).eval()


def batch(*lengths, longest=None, vocabulary=40):
    generator = torch.Generator().manual_seed(0)
    ids = torch.zeros(len(lengths), longest or max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, vocabulary, (length,), generator=generator)
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def perturbed(model):
    """With no weight at its first value, so that a norm or a bias that is left out shows."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


@pytest.mark.parametrize("place", range(6))
def test_a_layer_is_this_convolution(place):
    model = perturbed(cnn(kernel_size=3))
    inputs = batch(9, 5)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    layer, dilation = model.layers[place], [1, 2, 4][place % 3]
    along, across = layer.along_text, layer.across_channels
    came_in = layer_norm(states[place], (8,), layer.norm.weight, layer.norm.bias)
    for row, length in enumerate((9, 5)):
        for position in range(length):
            seen = along.bias.clone()
            for tap, offset in enumerate((-dilation, 0, dilation)):
                if 0 <= position + offset < length:
                    seen += along.weight[:, 0, tap] * came_in[row, position + offset]
            expected = states[place][row, position] + across.weight @ gelu(seen) + across.bias
            torch.testing.assert_close(states[place + 1][row, position], expected)


def test_embeddings_and_answer():
    model = perturbed(cnn())
    inputs = batch(6, 3)
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    embeddings = model.embeddings
    wide = embeddings.tokens.weight[inputs["input_ids"]] @ embeddings.projection.weight.T
    torch.testing.assert_close(
        output.hidden_states[0], layer_norm(wide, (8,), embeddings.norm.weight, embeddings.norm.bias)
    )
    for row, length in enumerate((6, 3)):
        last = layer_norm(output.hidden_states[-1][row, :length], (8,), model.norm.weight, model.norm.bias)
        pooled = torch.cat([last.mean(0), last.max(0).values])
        torch.testing.assert_close(output.logits[row], model.classifier.weight @ pooled + model.classifier.bias)
    assert len(output.hidden_states) == 7
    assert {tuple(state.shape) for state in output.hidden_states} == {(2, 6, 8)}


def test_padding_changes_nothing():
    model = perturbed(cnn())
    alone, padded = batch(7), batch(7, 12, 3, longest=50)
    with torch.no_grad():
        expected, found = (model(**inputs, output_hidden_states=True) for inputs in (alone, padded))
    torch.testing.assert_close(found.logits[:1], expected.logits, rtol=1e-5, atol=1e-6)
    for state, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(state[:1, :7], other, rtol=1e-5, atol=1e-6)


def test_what_stands_at_padding_changes_nothing():
    model = perturbed(cnn())
    inputs = batch(7, 4)
    with torch.no_grad():
        expected = model(**inputs).logits
        inputs["input_ids"][1, 4:] = 17
        assert torch.equal(model(**inputs).logits, expected)
        assert not torch.equal(model(input_ids=inputs["input_ids"]).logits, expected)


def test_a_text_without_tokens_has_a_finite_answer_and_gradient():
    model = cnn()
    inputs = batch(5, 5)
    inputs["attention_mask"][1] = 0
    loss = model(**inputs, labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert loss.isfinite() and all(weight.grad.isfinite().all() for weight in model.parameters())


def test_each_problem_has_its_loss():
    inputs = batch(5, 8)
    model = cnn()
    labels = torch.tensor([2, 0])
    output = model(**inputs, labels=labels)
    torch.testing.assert_close(output.loss, cross_entropy(output.logits, labels))
    assert infer_problem_type(cnn(), labels) is ProblemType.SINGLE_LABEL
    assert infer_problem_type(cnn(num_labels=1), torch.tensor([0.5, 1.0])) is ProblemType.REGRESSION
    assert infer_problem_type(cnn(), torch.ones(2, 3)) is ProblemType.MULTI_LABEL
    scores = cnn(num_labels=1)(**inputs, labels=torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(scores.loss, ((scores.logits[:, 0] - torch.tensor([0.5, 1.0])) ** 2).mean())


def test_other_ways_to_call_it():
    model = cnn()
    inputs = batch(5, 8)
    with torch.no_grad():
        expected = model(**inputs).logits
        embedded = model(
            inputs_embeds=model.get_input_embeddings()(inputs["input_ids"]), attention_mask=inputs["attention_mask"]
        )
        typed = model(**inputs, token_type_ids=torch.ones_like(inputs["input_ids"]))
        as_tuple = model(**inputs, return_dict=False)
        model.config.output_hidden_states = True
        assert len(model(**inputs).hidden_states) == 7
    assert all(torch.equal(logits, expected) for logits in (embedded.logits, typed.logits, as_tuple[0]))


def test_its_layers_are_found_and_can_be_taken():
    model = cnn(dilation_cycle=[1])
    (stack,) = find_layer_stacks(model)
    assert (stack.paths, stack.count_field, stack.total) == (("layers",), ("num_hidden_layers",), 6)
    half = create_student(model, layers=[0, 2, 4])
    assert half.config.num_hidden_layers == 3
    assert torch.equal(half.layers[1].along_text.weight, model.layers[2].along_text.weight)


def test_layers_see_other_distances_at_other_places():
    with pytest.raises(InputError, match="cannot become the student's layer 1"):
        create_student(cnn(), layers=[0, 2])


def test_labels_can_be_renumbered():
    model = cnn(id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    inputs = batch(5, 8)
    with torch.no_grad():
        before = model(**inputs).logits
        reorder_labels(model, ["c", "a", "b"])
        torch.testing.assert_close(model(**inputs).logits, before[:, [2, 0, 1]])


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_factorisation_misses_the_smallest_singular_values(rank):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(30, 8, generator=generator)
    tokens, directions = factorise(table, rank)
    missed = (table - tokens @ directions).square().sum().item()
    eigenvalues = torch.linalg.eigvalsh(table.double().T @ table.double())
    assert missed == pytest.approx(eigenvalues[: 8 - rank].sum().item(), rel=1e-4)
    torch.testing.assert_close(directions @ directions.T, torch.eye(rank), rtol=0, atol=1e-5)


def test_student_starts_from_the_teacher_s_embeddings():
    teacher = bert()
    student = create_text_cnn(teacher, embedding_rank=11)
    table = teacher.get_input_embeddings().weight.detach()
    product = student.embeddings.tokens.weight @ student.embeddings.projection.weight.T
    smallest = torch.linalg.svdvals(table.double())[-1].item()
    assert (product - table).norm().item() <= smallest + 1e-5
    assert student.config.id2label == {0: "neg", 1: "pos", 2: "so-so"}
    assert (student.config.hidden_size, student.config.num_hidden_layers, student.config.pad_token_id) == (24, 6, 0)
    assert not student.training
    assert len(WORDS) == student.config.vocab_size


def test_a_narrower_student_keeps_the_distances_between_tokens():
    teacher = bert()
    student = create_text_cnn(teacher, hidden_size=16, embedding_rank=8)
    nearest = torch.cdist(*[factorise(teacher.get_input_embeddings().weight, 8)[0]] * 2)
    product = student.embeddings.tokens.weight @ student.embeddings.projection.weight.T
    torch.testing.assert_close(torch.cdist(product, product), nearest, rtol=1e-4, atol=1e-4)


def test_the_seed_alone_decides():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = create_text_cnn(bert(), seed=3)
    torch.set_rng_state(state)
    again, other = create_text_cnn(bert(), seed=3), create_text_cnn(bert(), seed=4)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    teacher = bert()
    state = torch.get_rng_state()
    create_text_cnn(teacher)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_decoder_may_teach_too():
    config = GPT2Config(vocab_size=40, n_embd=24, n_layer=1, n_head=4, num_labels=3, pad_token_id=0)
    assert create_text_cnn(GPT2ForSequenceClassification(config)).config.embedding_rank == 8


def test_what_cannot_teach_or_be_made_is_refused():
    images = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
    with pytest.raises(InputError, match="no table of token embeddings"):
        create_text_cnn(images)
    for options in ({"num_layers": 0}, {"embedding_rank": 25}, {"embedding_rank": 9, "hidden_size": 8}):
        with pytest.raises(InputError):
            create_text_cnn(bert(), **options)
    with pytest.raises(ValueError, match="no middle"):
        TextCnnConfig(kernel_size=4)
    with torch.device("meta"), pytest.raises(InputError, match="not in memory"):
        create_text_cnn(bert())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text-cnn")
    student = perturbed(create_text_cnn(bert()))
    student.save_pretrained(folder)
    BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder, student


def test_saved_and_loaded_it_is_the_same(saved):
    folder, student = saved
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert isinstance(loaded, TextCnnForSequenceClassification)
    assert isinstance(AutoConfig.from_pretrained(folder), TextCnnConfig)
    inputs = batch(6, 3, vocabulary=len(WORDS))
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, student(**inputs).logits)
    ours, theirs = loaded.config.to_dict(), student.config.to_dict()
    for name in ("dilation_cycle", "embedding_rank", "hidden_size", "id2label", "kernel_size"):
        assert list(ours[name]) == list(theirs[name]) if name == "dilation_cycle" else ours[name] == theirs[name]


def test_pipeline_gives_the_model_s_own_answer(saved):
    folder, student = saved
    text = "the film is good"
    classify = pipeline("text-classification", model=str(folder))
    with torch.no_grad():
        tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        chances = student(tokens["input_ids"], tokens["attention_mask"]).logits.softmax(-1)[0]
    found = {answer["label"]: answer["score"] for answer in classify(text, top_k=None)}
    assert found == pytest.approx({student.config.id2label[index]: chances[index].item() for index in range(3)})


def test_its_code_is_saved_beside_its_weights(saved):
    folder, _ = saved
    module = Path(sys.modules[TextCnnConfig.__module__].__file__)
    assert (folder / module.name).read_text() == module.read_text()
    assert json.loads((folder / "config.json").read_text())["auto_map"] == {
        "AutoConfig": f"{module.stem}.TextCnnConfig",
        "AutoModelForSequenceClassification": f"{module.stem}.TextCnnForSequenceClassification",
    }


def test_importing_the_package_makes_it_known():
    code = "import hf_distill; from transformers import AutoConfig; AutoConfig.for_model('hf_distill_text_cnn')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_it_loads_where_hf_distill_is_not_installed(saved, tmp_path):
    folder, student = saved
    assert (folder / "modeling_text_cnn.py").is_file()
    inputs = batch(6, 3, vocabulary=len(WORDS))
    torch.save(inputs, tmp_path / "inputs.pt")
    code = f"""
import sys
sys.modules["hf_distill"] = None
import torch
from transformers import AutoModelForSequenceClassification, pipeline
model = AutoModelForSequenceClassification.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()
with torch.no_grad():
    torch.save(model(**torch.load({str(tmp_path / "inputs.pt")!r})).logits, {str(tmp_path / "logits.pt")!r})
model.save_pretrained({str(tmp_path / "again")!r})
print(pipeline("text-classification", model={str(folder)!r}, trust_remote_code=True)("a bad plot")[0]["label"])
"""
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().splitlines()[-1] in ("neg", "pos", "so-so")
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits.pt"), student(**inputs).logits)
    assert (tmp_path / "again" / "modeling_text_cnn.py").is_file()
