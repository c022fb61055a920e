"""The configuration of a student: lists by layer, lists of layers, and the record of where its layers come from."""

import copy

import pytest
import torch
import transformers as hf
from students import tiny_shape

from hf_distill.errors import InputError
from hf_distill.students import create_student

SMALL = {**tiny_shape.SMALL, "eos_token_id": [1, 2]}
LLAMA4 = {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size_mlp": 37, "num_local_experts": 2}
FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


def reloaded(student, folder):
    student.save_pretrained(folder)
    return type(student).from_pretrained(folder)


@pytest.mark.parametrize(
    ("model_class", "config", "layers", "expected"),
    [
        (
            hf.Llama4ForCausalLM,
            hf.Llama4TextConfig(**LLAMA4, interleave_moe_layer_step=2, no_rope_layer_interval=4),
            [1, 2, 3],
            {
                "moe_layers": [0, 2],
                "no_rope_layers": [1, 1, 0],
                "layer_types": [CHUNKED, CHUNKED, FULL],
                "eos_token_id": [1, 2],
            },
        ),
        (
            hf.Llama4ForCausalLM,
            hf.Llama4TextConfig(**LLAMA4, interleave_moe_layer_step=1, no_rope_layer_interval=4),
            [1, 3],
            {"moe_layers": [0, 1], "no_rope_layers": [1, 0], "layer_types": [CHUNKED, FULL]},
        ),
        (
            hf.Qwen2MoeForCausalLM,
            hf.Qwen2MoeConfig(
                **SMALL,
                num_key_value_heads=2,
                num_experts=2,
                moe_intermediate_size=16,
                shared_expert_intermediate_size=16,
                mlp_only_layers=[0, 3],
            ),
            [1, 3],
            {"mlp_only_layers": [1]},
        ),
        (
            hf.MllamaForCausalLM,
            hf.MllamaTextConfig(**SMALL, num_key_value_heads=2, cross_attention_layers=[1, 3]),
            [0, 2, 3],
            {"cross_attention_layers": [2]},
        ),
        (
            hf.LongformerModel,
            hf.LongformerConfig(**SMALL, sep_token_id=3, attention_window=[2, 4, 6, 8]),
            [1, 3],
            {"attention_window": [4, 8]},
        ),
        (
            hf.ModernBertForMaskedLM,
            hf.ModernBertConfig(**SMALL, global_attn_every_n_layers=3),
            [0, 1, 3],
            {"layer_types": [FULL, SLIDING, FULL]},
        ),
        (
            hf.SmolLM3ForCausalLM,
            hf.SmolLM3Config(**SMALL, num_key_value_heads=2, no_rope_layer_interval=2),
            [0, 1],
            {"no_rope_layers": [1, 0]},
        ),
    ],
    ids=["llama4", "llama4-all-moe", "qwen2-moe", "mllama", "longformer", "modernbert", "smollm3"],
)
def test_lists_follow_the_layers(model_class, config, layers, expected, tmp_path):
    student = create_student(model_class(copy.deepcopy(config)), layers=layers)
    loaded = reloaded(student, tmp_path)
    for field, value in expected.items():
        assert getattr(student.config, field) == value
        assert getattr(loaded.config, field) == value
    assert loaded.config.num_hidden_layers == len(layers)
    for (name, tensor), (loaded_name, loaded_tensor) in zip(
        student.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert name == loaded_name
        assert torch.equal(tensor, loaded_tensor)


def test_losing_every_layer_of_a_kind_is_told(caplog):
    teacher = hf.Gemma2Model(hf.Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8))
    create_student(teacher, layers=[0, 1])
    assert "full_attention" not in caplog.text
    create_student(teacher)
    assert "none of them is full_attention in layer_types" in caplog.text


def test_a_student_of_a_student_names_layers_of_the_first_teacher(tmp_path):
    teacher = hf.BertModel(hf.BertConfig(**{**SMALL, "num_hidden_layers": 12}))
    student = create_student(teacher, layer_selection="spaced")
    assert student.config.distilled_from_layers == {"encoder.layer": [0, 2, 4, 7, 9, 11]}
    student.save_pretrained(tmp_path)
    with_head = hf.BertForSequenceClassification.from_pretrained(tmp_path)
    smaller = create_student(with_head, layers=[1, 3, 5])
    assert smaller.config.distilled_from_layers == {"bert.encoder.layer": [2, 7, 11]}
    assert smaller.bert.encoder.layer[1].output.dense.weight.equal(teacher.encoder.layer[7].output.dense.weight)
    assert reloaded(smaller, tmp_path / "smaller").config.distilled_from_layers == {"bert.encoder.layer": [2, 7, 11]}
    assert with_head.config.distilled_from_layers == {"encoder.layer": [0, 2, 4, 7, 9, 11]}


def test_a_record_that_speaks_of_other_layers_is_not_used():
    config = hf.BertConfig(**SMALL, distilled_from_layers={"encoder.layer": [0, 11]})
    assert create_student(hf.BertModel(config)).config.distilled_from_layers == {"encoder.layer": [0, 2]}


def test_stages_of_a_backbone_follow_the_layers(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}
    teacher = hf.Dinov2Backbone(hf.Dinov2Config(**sizes, out_features=["stage2", "stage4"])).eval()
    student = create_student(teacher, layers=[0, 1, 3])
    assert student.config.out_features == ["stage2", "stage3"]
    pixels = torch.randn(1, 3, 16, 16)
    before, after = teacher(pixels).feature_maps, student(pixels).feature_maps
    assert len(after) == 2
    assert torch.equal(after[0], before[0])
    assert all(map(torch.equal, reloaded(student, tmp_path)(pixels).feature_maps, after))
    with pytest.raises(InputError, match="out_features asks for stage2, the output of layer 1 of encoder.layer"):
        create_student(teacher, layers=[0, 3])


def test_a_configuration_that_would_not_load_again_is_refused():
    heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    heads |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
    config = hf.OlmoHybridConfig(**SMALL, **heads, num_key_value_heads=4, layer_types=["linear_attention", FULL] * 2)
    teacher = hf.OlmoHybridForCausalLM(config)
    with pytest.raises(InputError, match="would not load again .*at least one attention layer.*choose other layers"):
        create_student(teacher, layers=[0, 2])
    assert create_student(teacher, layers=[0, 3]).config.layer_types == ["linear_attention", FULL]
