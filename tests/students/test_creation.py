"""Students of many architectures, against teachers whose lists of layers were cut by hand."""

import copy
import inspect
from dataclasses import dataclass, field

import pytest
import torch
import transformers as hf
from students.tiny_shape import SMALL
from torch import nn

from hf_distill.students import create_student

ENCODER = {**SMALL, "max_position_embeddings": 64, "num_labels": 3}
IMAGES = {"image_size": 16, "patch_size": 8, "num_labels": 3}
VIT = {**{key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}, **IMAGES}
BART = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 4,
    "decoder_layers": 3,
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 37),
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "num_labels": 3,
}
T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 37,
    "num_layers": 4,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "decoder_start_token_id": 0,
}
GPT2 = {"vocab_size": 99, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "pad_token_id": 0}


@dataclass
class Case:
    model: type[hf.PreTrainedModel]
    config: hf.PreTrainedConfig
    stacks: dict[str, str]
    """For each path of a list of layers, the attribute of the configuration that counts it."""
    layers: list[int] = field(default_factory=lambda: [1, 2])
    inputs: str = "text"


def encoder(model, config, path, count="num_hidden_layers", **overrides):
    return Case(model, config(**{**ENCODER, **overrides}), {path: count})


CASES = {
    "bert": encoder(hf.BertModel, hf.BertConfig, "encoder.layer"),
    "bert-sequence": encoder(hf.BertForSequenceClassification, hf.BertConfig, "bert.encoder.layer"),
    "bert-tokens": encoder(hf.BertForTokenClassification, hf.BertConfig, "bert.encoder.layer"),
    "bert-mlm": encoder(hf.BertForMaskedLM, hf.BertConfig, "bert.encoder.layer"),
    "roberta": encoder(hf.RobertaModel, hf.RobertaConfig, "encoder.layer"),
    "roberta-mlm": encoder(hf.RobertaForMaskedLM, hf.RobertaConfig, "roberta.encoder.layer"),
    "xlm-roberta-sequence": encoder(
        hf.XLMRobertaForSequenceClassification, hf.XLMRobertaConfig, "roberta.encoder.layer"
    ),
    "distilbert-sequence": Case(
        hf.DistilBertForSequenceClassification,
        hf.DistilBertConfig(vocab_size=99, dim=32, n_layers=4, n_heads=4, hidden_dim=37, sinusoidal_pos_embds=True),
        {"distilbert.transformer.layer": "n_layers"},
    ),
    "distilbert-mlm": Case(
        hf.DistilBertForMaskedLM,
        hf.DistilBertConfig(vocab_size=99, dim=32, n_layers=4, n_heads=4, hidden_dim=37),
        {"distilbert.transformer.layer": "n_layers"},
    ),
    "mpnet-sequence": encoder(hf.MPNetForSequenceClassification, hf.MPNetConfig, "mpnet.encoder.layer"),
    "electra-tokens": encoder(hf.ElectraForTokenClassification, hf.ElectraConfig, "electra.encoder.layer"),
    "deberta-v2-sequence": encoder(
        hf.DebertaV2ForSequenceClassification,
        hf.DebertaV2Config,
        "deberta.encoder.layer",
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        conv_kernel_size=3,
        position_buckets=8,
    ),
    "modernbert-sequence": Case(
        hf.ModernBertForSequenceClassification,
        hf.ModernBertConfig(**ENCODER, local_attention=4, global_attn_every_n_layers=2),
        {"model.layers": "num_hidden_layers"},
        layers=[0, 2, 3],
    ),
    "longformer-sequence": Case(
        hf.LongformerForSequenceClassification,
        hf.LongformerConfig(**ENCODER, attention_window=[4, 8, 4, 8], sep_token_id=3),
        {"longformer.encoder.layer": "num_hidden_layers"},
    ),
    "mobilebert-sequence": encoder(
        hf.MobileBertForSequenceClassification,
        hf.MobileBertConfig,
        "mobilebert.encoder.layer",
        embedding_size=32,
        intra_bottleneck_size=16,
        true_hidden_size=16,
    ),
    "xlnet-sequence": Case(
        hf.XLNetForSequenceClassification,
        hf.XLNetConfig(vocab_size=99, d_model=32, n_layer=4, n_head=4, d_inner=37, num_labels=3),
        {"transformer.layer": "n_layer"},
    ),
    "gpt2": Case(hf.GPT2Model, hf.GPT2Config(**GPT2), {"h": "n_layer"}),
    "gpt2-lm": Case(hf.GPT2LMHeadModel, hf.GPT2Config(**GPT2), {"transformer.h": "n_layer"}),
    "llama-lm": encoder(hf.LlamaForCausalLM, hf.LlamaConfig, "model.layers", num_key_value_heads=2),
    "llama-sequence": encoder(hf.LlamaForSequenceClassification, hf.LlamaConfig, "model.layers"),
    "gemma2-lm": encoder(hf.Gemma2ForCausalLM, hf.Gemma2Config, "model.layers", head_dim=8, sliding_window=3),
    "qwen3-lm": encoder(
        hf.Qwen3ForCausalLM,
        hf.Qwen3Config,
        "model.layers",
        num_key_value_heads=2,
        head_dim=8,
        use_sliding_window=True,
        sliding_window=3,
        max_window_layers=2,
    ),
    "vit": Case(hf.ViTModel, hf.ViTConfig(**VIT), {"layers": "num_hidden_layers"}, inputs="image"),
    "vit-image": Case(
        hf.ViTForImageClassification, hf.ViTConfig(**VIT), {"vit.layers": "num_hidden_layers"}, inputs="image"
    ),
    "dinov2": Case(hf.Dinov2Model, hf.Dinov2Config(**VIT), {"encoder.layer": "num_hidden_layers"}, inputs="image"),
    "bart": Case(
        hf.BartModel,
        hf.BartConfig(**BART),
        {"encoder.layers": "encoder_layers", "decoder.layers": "decoder_layers"},
        inputs="pair",
    ),
    "bart-sequence": Case(
        hf.BartForSequenceClassification,
        hf.BartConfig(**BART),
        {"model.encoder.layers": "encoder_layers", "model.decoder.layers": "decoder_layers"},
        inputs="ended",
    ),
    "bart-lm": Case(
        hf.BartForConditionalGeneration,
        hf.BartConfig(**BART),
        {"model.encoder.layers": "encoder_layers", "model.decoder.layers": "decoder_layers"},
        inputs="pair",
    ),
    "t5-lm": Case(
        hf.T5ForConditionalGeneration,
        hf.T5Config(**T5),
        {"encoder.block": "num_layers", "decoder.block": "num_decoder_layers"},
        inputs="pair",
    ),
    "t5-encoder": Case(hf.T5EncoderModel, hf.T5Config(**T5), {"encoder.block": "num_layers"}),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def teacher(case):
    torch.manual_seed(0)
    model = case.model(copy.deepcopy(case.config))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def student(teacher, case):
    return create_student(teacher, layers=case.layers)


def inputs_of(case):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 99, (2, 9), generator=generator)
    ids[:, -1] = 2
    if case.inputs == "image":
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator)}
    mask = torch.ones_like(ids)
    if case.inputs in ("text", "pair"):
        ids[1, 6:], mask[1, 6:] = 0, 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs | {"decoder_input_ids": ids[:, :5]} if case.inputs == "pair" else inputs


@torch.no_grad()
def first_output(model, inputs):
    takes_cache = "use_cache" in inspect.signature(model.forward).parameters
    return model(**inputs, **({"use_cache": False} if takes_cache else {}))[0]


def cut(teacher, case):
    """The teacher with its lists cut by hand, and what its forward reads by place put right by hand."""
    model = copy.deepcopy(teacher)
    for path, count in case.stacks.items():
        parent, _, leaf = path.rpartition(".")
        old = model.get_submodule(path)
        new = nn.ModuleList(old[index] for index in case.layers)
        if isinstance(teacher, hf.T5PreTrainedModel):
            attention, first = new[0].layer[0].SelfAttention, old[0].layer[0].SelfAttention
            attention.relative_attention_bias = first.relative_attention_bias
            attention.has_relative_attention_bias = True
        setattr(model.get_submodule(parent), leaf, new)
        setattr(model.config, count, len(case.layers))
    for name in {"layer_types", "attention_window"} & vars(model.config).keys():
        setattr(model.config, name, [getattr(model.config, name)[index] for index in case.layers])
    return model


def origin(name, case):
    """The teacher's name of a tensor of the student."""
    for path in case.stacks:
        if name.startswith(f"{path}."):
            place, rest = name.removeprefix(f"{path}.").split(".", 1)
            if place == "0" and "relative_attention_bias" in rest and "block" in path:
                return name
            return f"{path}.{case.layers[int(place)]}.{rest}"
    return name


def tied_groups(model):
    names_by_pointer = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_by_pointer.setdefault(parameter.data_ptr(), set()).add(name)
    return {frozenset(names) for names in names_by_pointer.values() if len(names) > 1}


def test_configuration_counts_the_layers_and_records_them(student, case):
    for path, count in case.stacks.items():
        assert getattr(student.config, count) == len(case.layers) == len(student.get_submodule(path))
    assert student.config.distilled_from_layers == {path: case.layers for path in case.stacks}


def test_every_tensor_is_a_copy_of_the_teachers(student, teacher, case):
    originals = dict(teacher.named_parameters(remove_duplicate=False)) | dict(teacher.named_buffers())
    tensors = dict(student.named_parameters(remove_duplicate=False)) | dict(student.named_buffers())
    for name, tensor in tensors.items():
        original = originals[origin(name, case)]
        assert tensor.dtype == original.dtype
        assert torch.equal(tensor, original), name
    storages = {tensor.untyped_storage().data_ptr() for tensor in originals.values()}
    assert not storages & {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    left_out = {origin(name, case) for name in student.state_dict()} ^ set(teacher.state_dict())
    assert all(name.startswith(tuple(case.stacks)) for name in left_out)
    assert not student.training


def test_tied_weights_stay_tied(student, teacher, case):
    assert tied_groups(student) == tied_groups(teacher)
    if case.model.__name__.endswith(("ForMaskedLM", "LMHeadModel", "ForConditionalGeneration", "Gemma2ForCausalLM")):
        assert tied_groups(student)


def test_student_computes_what_the_cut_teacher_computes(student, teacher, case):
    inputs = inputs_of(case)
    expected = first_output(cut(teacher, case), inputs)
    assert torch.equal(first_output(student, inputs), expected)
    assert not torch.allclose(expected, first_output(teacher, inputs), atol=1e-3)


def test_nothing_changes_in_saving_and_loading(student, case, tmp_path):
    student.save_pretrained(tmp_path)
    loaded, report = case.model.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert torch.equal(first_output(loaded, inputs_of(case)), first_output(student, inputs_of(case)))
    assert loaded.config.distilled_from_layers == student.config.distilled_from_layers
    assert tied_groups(loaded) == tied_groups(student)


def test_all_layers_keep_the_function_and_the_teacher_stays(teacher, case):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    config_before = teacher.config.to_json_string()
    teacher.train()
    random_state = torch.get_rng_state()
    totals = {path: getattr(teacher.config, count) for path, count in case.stacks.items()}
    counts = totals.values() if len(totals) == 1 else [dict(zip(("encoder", "decoder"), totals.values(), strict=True))]
    whole = create_student(teacher, num_layers=next(iter(counts)))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training for module in teacher.modules())
    teacher.eval()
    assert teacher.config.to_json_string() == config_before
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert whole.config.distilled_from_layers == {path: list(range(total)) for path, total in totals.items()}
    assert torch.equal(first_output(whole, inputs_of(case)), first_output(teacher, inputs_of(case)))
