"""What hangs on a layer's place: carried over, or refused."""

import pytest
import torch
import transformers as hf
from students.tiny_shape import SMALL
from torch import nn

from hf_distill.errors import InputError
from hf_distill.students import create_student

T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_heads": 4, "relative_attention_num_buckets": 8}
GPT2 = {"vocab_size": 99, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64}


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_the_position_bias_of_t5_moves_into_the_new_first_blocks():
    teacher = randomised(hf.T5ForConditionalGeneration(hf.T5Config(**T5, num_layers=4, num_decoder_layers=4)))
    student = create_student(teacher, layers=[1, 3])
    for stack in ("encoder", "decoder"):
        old, new = getattr(teacher, stack).block, getattr(student, stack).block
        bias = new[0].layer[0].SelfAttention.relative_attention_bias.weight
        assert bias.equal(old[0].layer[0].SelfAttention.relative_attention_bias.weight)
        assert bias.data_ptr() != old[0].layer[0].SelfAttention.relative_attention_bias.weight.data_ptr()
        assert new[0].layer[0].SelfAttention.q.weight.equal(old[1].layer[0].SelfAttention.q.weight)
        assert not hasattr(new[1].layer[0].SelfAttention, "relative_attention_bias")


def test_modernbert_cannot_start_without_its_first_layer():
    teacher = hf.ModernBertModel(hf.ModernBertConfig(**SMALL))
    for arguments in ({"layers": [1, 3]}, {"num_layers": 2, "layer_selection": "last"}):
        with pytest.raises(
            InputError, match="cannot become the student's layer 0: attn_norm is LayerNorm at its place"
        ):
            create_student(teacher, **arguments)
    student = create_student(teacher, layers=[0, 3])
    assert isinstance(student.layers[0].attn_norm, nn.Identity)


@pytest.mark.parametrize("model_class", [hf.GPT2LMHeadModel, hf.GPT2ForSequenceClassification])
def test_gpt2_that_scales_by_the_index_keeps_only_its_first_layers(model_class):
    config = hf.GPT2Config(**GPT2, pad_token_id=0, scale_attn_by_inverse_layer_idx=True)
    teacher = randomised(model_class(config))
    with pytest.raises(InputError, match="scale_attn_by_inverse_layer_idx=True .* layer_selection='first'"):
        create_student(teacher)
    student = create_student(teacher, num_layers=2, layer_selection="first")
    ids = torch.randint(1, 99, (2, 7))
    expected = teacher(ids, output_hidden_states=True).hidden_states[2]
    assert student.transformer.h[1].attn.scaling == teacher.transformer.h[1].attn.scaling
    torch.testing.assert_close(
        student(ids, output_hidden_states=True).hidden_states[1],
        teacher(ids, output_hidden_states=True).hidden_states[1],
        rtol=0,
        atol=0,
    )
    normed = teacher.transformer.ln_f(expected)
    assert student.transformer(ids).last_hidden_state.equal(normed)


def test_a_scale_that_only_the_layer_knows_is_found():
    teacher = hf.DiffLlamaForCausalLM(hf.DiffLlamaConfig(**SMALL, num_key_value_heads=2))
    with pytest.raises(InputError, match="layer 2 of model.layers .* lambda_init of self_attn is"):
        create_student(teacher)
    assert create_student(teacher, layer_selection="first").config.num_hidden_layers == 2


def test_a_kind_that_an_interval_gives_is_found():
    sizes = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 2}
    config = hf.Qwen2MoeConfig(**SMALL, **sizes, num_key_value_heads=2, decoder_sparse_step=2)
    teacher = hf.Qwen2MoeForCausalLM(config)
    with pytest.raises(
        InputError, match="layer 2 of model.layers .* mlp is Qwen2MoeMLP at its place and Qwen2MoeSparse"
    ):
        create_student(teacher)
    student = create_student(teacher, layers=[0, 3])
    assert student.model.layers[1].mlp.gate.weight.equal(teacher.model.layers[3].mlp.gate.weight)


def test_stochastic_depth_may_change_since_it_is_for_training():
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}
    teacher = hf.BeitModel(hf.BeitConfig(**sizes, intermediate_size=37, drop_path_rate=0.2))
    student = create_student(teacher, layers=[1, 3])
    assert student.layers[0].attention.q_proj.weight.equal(teacher.layers[1].attention.q_proj.weight)


@pytest.mark.parametrize(
    "model",
    [
        lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL, num_key_value_heads=2)),
        lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2, pad_token_id=0, eos_token_id=2)),
        lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8, sliding_window=3, layer_types=None)
        ),
        lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, num_layers=4, decoder_start_token_id=0)),
    ],
    ids=["llama", "gpt2", "gemma2", "t5"],
)
def test_layers_find_their_own_cache(model):
    student = create_student(randomised(model()), layers=[1, 2])
    ids = torch.randint(5, 99, (2, 6), generator=torch.Generator().manual_seed(1))
    arguments = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "do_sample": False}
    cached = student.generate(ids, **arguments, use_cache=True)
    assert cached.equal(student.generate(ids, **arguments, use_cache=False))
    assert cached.shape[1] > 3
