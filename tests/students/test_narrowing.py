"""Narrower students: exact where something can be exact, and importance against gates opened and shut by hand."""

import copy

import pytest
import torch
import transformers as hf
from students.tiny_shape import SMALL
from torch import nn

from hf_distill.errors import InputError
from hf_distill.students import create_student, narrow

ENCODER = {**SMALL, "max_position_embeddings": 64, "num_labels": 3}
GENERATOR = torch.Generator().manual_seed(1)
BATCH = {
    "input_ids": torch.randint(5, 99, (10, 9), generator=GENERATOR),
    "attention_mask": torch.tensor([[1] * 9] * 8 + [[1] * 6 + [0] * 3] * 2),
    "labels": torch.randint(0, 3, (10,), generator=GENERATOR),
}
TOKENS = {**BATCH, "labels": torch.randint(0, 3, (10, 9), generator=GENERATOR)}
WORDS = {**BATCH, "labels": BATCH["input_ids"]}
IMAGES = {"pixel_values": torch.randn(10, 3, 16, 16, generator=GENERATOR), "labels": BATCH["labels"]}
VIT = {key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
DISTILBERT = {"vocab_size": 99, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 37, "num_labels": 3}
LLAMA = {**ENCODER, "num_key_value_heads": 2}
MODELS = {
    "bert": (hf.BertForSequenceClassification, hf.BertConfig(**ENCODER), BATCH),
    "bert tokens": (hf.BertForTokenClassification, hf.BertConfig(**ENCODER), TOKENS),
    "bert words": (hf.BertForMaskedLM, hf.BertConfig(**ENCODER), WORDS),
    "roberta": (hf.RobertaForSequenceClassification, hf.RobertaConfig(**ENCODER), BATCH),
    "distilbert": (hf.DistilBertForSequenceClassification, hf.DistilBertConfig(**DISTILBERT), BATCH),
    "electra": (hf.ElectraForSequenceClassification, hf.ElectraConfig(**ENCODER, embedding_size=12), BATCH),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**LLAMA), WORDS),
    "llama classifier": (hf.LlamaForSequenceClassification, hf.LlamaConfig(**LLAMA), BATCH),
    "vit": (
        hf.ViTForImageClassification,
        hf.ViTConfig(**VIT, image_size=16, patch_size=8, num_labels=3),
        IMAGES,
    ),
}


def random_model(kind, std=0.3):
    torch.manual_seed(0)
    cls, config, batch = MODELS[kind]
    model = cls(copy.deepcopy(config)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model, batch


def logits(model, batch):
    with torch.no_grad():
        return model(**{name: values for name, values in batch.items() if name != "labels"}).logits


@pytest.mark.parametrize("kind", MODELS)
def test_narrowed_to_its_own_widths_a_model_stays_what_it_is(kind):
    model, batch = random_model(kind)
    same = narrow(model, 32, 4, 37, batch)
    assert logits(same, batch).equal(logits(model, batch))
    assert all(a.equal(b) and a is not b for a, b in zip(same.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("kind", MODELS)
def test_a_narrower_model_is_an_ordinary_one(kind, tmp_path):
    model, batch = random_model(kind)
    before = copy.deepcopy(model.state_dict())
    student = create_student(model, 2, hidden_size=16, intermediate_size=20, calibration=batch)
    assert student.config.hidden_size == 16
    if kind != "distilbert":
        assert student.config.intermediate_size == 20
    assert not student.training and next(iter(student.config.distilled_from_layers.values())) == [0, 2]
    student.save_pretrained(tmp_path)
    assert logits(type(student).from_pretrained(tmp_path), batch).equal(logits(student, batch))
    student(**batch).loss.backward()
    assert all(values.equal(before[name]) for name, values in model.state_dict().items())
    assert model.config.problem_type is None
    assert all(parameter.grad is None for parameter in model.parameters())


def in_a_subspace(model, width):
    """Makes all that is written to the stream of a BERT lie in ``width - 1`` directions and that of the mean."""
    torch.manual_seed(2)
    total = model.config.hidden_size
    mean = torch.full((total, 1), total**-0.5)
    basis = torch.linalg.qr(torch.cat([mean, torch.randn(total, width - 1)], 1)).Q
    inside = basis @ basis.T
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if "embeddings" in name and "LayerNorm" not in name:
            parameter.copy_(parameter @ inside)
        elif "output.dense" in name:
            parameter.copy_(inside @ parameter)
        elif "LayerNorm.weight" in name:
            parameter.fill_(1.3)
        elif "LayerNorm.bias" in name:
            parameter.copy_(inside @ parameter)


def shut(model, layer, heads=(), neurons=(), features=()):
    """Takes away what some heads and neurons of a layer, and some features of the classifier, hand on."""
    block = model.bert.encoder.layer[layer]
    for head in heads:
        block.attention.output.dense.weight.data[:, 8 * head : 8 * head + 8] = 0
    block.output.dense.weight.data[:, list(neurons)] = 0
    model.classifier.weight.data[:, list(features)] = 0


SHUT = {0: ([1, 2], range(0, 17)), 1: ([0, 3], range(20, 37)), 2: ([0, 1], range(5, 22)), 3: ([1, 3], range(3, 20))}


@pytest.mark.parametrize("calibrated", [True, False])
def test_what_adds_nothing_is_what_is_left_out(calibrated):
    """Half the stream, heads, neurons and features of this teacher do nothing; its student is to lose just those."""
    model, batch = random_model("bert")
    in_a_subspace(model, 16)
    for layer, (heads, neurons) in SHUT.items():
        shut(model, layer, heads, neurons, features=range(16, 32))
    student = narrow(model, hidden_size=16, intermediate_size=20, calibration=batch if calibrated else None)
    assert student.config.num_attention_heads == 2
    torch.testing.assert_close(logits(student, batch), logits(model, batch), rtol=1e-3, atol=1e-4)
    assert logits(model, batch).std() > 0.1


@pytest.mark.parametrize("calibrated", [True, False])
def test_heads_of_their_own_size_are_left_out_with_the_keys_and_values_they_share(calibrated):
    model, batch = random_model("llama")
    for layer, group in zip(model.model.layers, (0, 1, 1, 0), strict=True):
        layer.self_attn.o_proj.weight.data[:, 16 * group : 16 * group + 16] = 0
    student = narrow(model, num_attention_heads=2, calibration=batch if calibrated else None)
    assert (student.config.num_attention_heads, student.config.num_key_value_heads) == (2, 1)
    torch.testing.assert_close(logits(student, batch), logits(model, batch), rtol=1e-4, atol=1e-4)
    assert student.model.layers[1].self_attn.k_proj.weight.equal(model.model.layers[1].self_attn.k_proj.weight[:8])


def test_a_stream_without_mean_is_kept_exactly():
    model, batch = random_model("llama")
    basis = torch.linalg.qr(torch.randn(32, 16)).Q
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if "embed_tokens" in name:
            parameter.copy_(parameter @ basis @ basis.T)
        elif "o_proj" in name or "down_proj" in name:
            parameter.copy_(basis @ basis.T @ parameter)
        elif "norm" in name:
            parameter.fill_(0.7)
    student = narrow(model, hidden_size=16, calibration=batch)
    torch.testing.assert_close(logits(student, batch), logits(model, batch), rtol=1e-3, atol=1e-3)


def gate_gradients(model, batch, reader, unit):
    """|loss with a gate a little wider - a little narrower|, row by row, averaged over the rows."""
    step, losses = 1e-3, []
    column = model.get_submodule(reader).weight.data[:, unit]
    open_gate = column.clone()
    for gate in (1 + step, 1 - step):
        column.copy_(gate * open_gate)
        losses.append(nn.functional.cross_entropy(logits(model, batch), batch["labels"], reduction="none"))
    column.copy_(open_gate)
    return ((losses[0] - losses[1]).abs() / (2 * step)).mean().item()


def test_importance_is_the_mean_size_of_the_gates_gradient():
    """Of every unit the student keeps, the finite difference is above that of every unit it leaves out."""
    model, batch = random_model("bert", std=0.15)
    student = narrow(model, intermediate_size=4, calibration=batch)
    layer, prefix = 1, "bert.encoder.layer.1"
    kept_rows = student.bert.encoder.layer[layer].intermediate.dense.weight
    rows = model.bert.encoder.layer[layer].intermediate.dense.weight
    kept = [index for index in range(37) if (rows[index] == kept_rows).all(1).any()]
    model.double()
    sizes = {unit: gate_gradients(model, batch, f"{prefix}.output.dense", unit) for unit in range(37)}
    assert kept == sorted(sorted(sizes, key=sizes.get)[-4:])


def test_without_calibration_the_size_of_the_weights_decides():
    model, _ = random_model("bert")
    student = narrow(model, intermediate_size=4)
    block = model.bert.encoder.layer[2]
    weights, bias, out = block.intermediate.dense.weight, block.intermediate.dense.bias, block.output.dense.weight
    sizes = [
        ((weights[i] ** 2).sum() + bias[i] ** 2).sqrt() * (out[:, i] ** 2).sum().sqrt() for i in range(len(weights))
    ]
    kept = sorted(sorted(range(37), key=lambda unit: sizes[unit])[-4:])
    assert student.bert.encoder.layer[2].intermediate.dense.weight.equal(weights[kept])
    assert student.bert.encoder.layer[2].output.dense.weight.equal(out[:, kept])


def test_padding_has_no_say_in_the_directions():
    model, batch = random_model("bert")
    other = copy.deepcopy(batch)
    other["input_ids"][8:, 6:] = 7
    narrowed, again = (narrow(model, hidden_size=16, calibration=each) for each in (batch, other))
    assert logits(narrowed, batch).equal(logits(again, batch))


@pytest.mark.parametrize(
    ("model", "widths", "message"),
    [
        (hf.BertModel, {"hidden_size": 20}, "would change the heads, which are 8 wide"),
        (hf.BertModel, {"num_attention_heads": 2}, "choose a hidden_size of 8 times the number of heads"),
        (hf.BertModel, {"hidden_size": 64}, "does not narrow the teacher's 32"),
        (hf.BertModel, {"intermediate_size": 0}, "intermediate_size=0 does not narrow the teacher's 37"),
        (hf.LlamaModel, {"num_attention_heads": 3}, "choose a multiple of 2"),
        (hf.GPT2Model, {"hidden_size": 16}, "how to narrow h.0.attn.c_attn"),
        (hf.MPNetModel, {"hidden_size": 16}, "how to narrow encoder.relative_attention_bias"),
        (hf.DebertaV2Model, {"hidden_size": 16}, "both its dimensions would shrink"),
        (hf.ModernBertModel, {"hidden_size": 16}, "Wqkv"),
        (hf.BartModel, {"hidden_size": 16}, "does not describe a single stack"),
        (hf.Gemma2Model, {"hidden_size": 16}, "does not multiply by its weight alone"),
        (hf.ElectraModel, {"hidden_size": 16}, "give a calibration batch"),
    ],
)
def test_what_cannot_be_narrowed_is_refused(model, widths, message):
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}
    shapes = {
        hf.GPT2Model: {"n_embd": 32, "n_layer": 4, "n_head": 4},
        hf.BartModel: {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1},
        hf.ElectraModel: {**SMALL, "embedding_size": 12},
        hf.Gemma2Model: {**LLAMA, "head_dim": 8},
        hf.LlamaModel: LLAMA,
    }
    config = model.config_class(**{"vocab_size": 99, **shapes.get(model, SMALL), **special})
    with pytest.raises(InputError, match=message) as caught:
        narrow(model(config), **widths)
    assert "\n" not in str(caught.value)


def test_a_batch_that_cannot_tell_is_refused():
    model, batch = random_model("bert")
    unlabelled = {name: values for name, values in batch.items() if name != "labels"}
    with pytest.raises(InputError, match="no loss to measure importance by; add its labels"):
        narrow(model, intermediate_size=20, calibration=unlabelled)
    with pytest.raises(InputError, match="calibration was given and no width"):
        create_student(model, calibration=batch)


def test_a_mpnet_can_lose_neurons():
    torch.manual_seed(0)
    model = hf.MPNetForSequenceClassification(hf.MPNetConfig(**ENCODER)).eval()
    for layer in model.mpnet.encoder.layer:
        layer.output.dense.weight.data[:, 20:] = 0
    student = narrow(model, intermediate_size=20, calibration=BATCH)
    torch.testing.assert_close(logits(student, BATCH), logits(model, BATCH))


def test_narrower_and_another_class_at_once():
    model, batch = random_model("bert")
    student = create_student(model, 2, architecture="distil", hidden_size=16, calibration=batch)
    assert (student.config.dim, student.config.n_heads, student.config.n_layers) == (16, 2, 2)
    assert logits(student, batch).shape == (10, 3)
