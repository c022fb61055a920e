"""Dtypes, devices, generation settings, and teachers whose weights cannot be copied."""

import pytest
import torch
import transformers as hf
from torch import nn

from hf_distill.errors import InputError
from hf_distill.students import create_student

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4}


def tiny_llama(**overrides):
    sizes = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
    return hf.LlamaForCausalLM(hf.LlamaConfig(**{**sizes, **overrides}))


def tiny_bert(**overrides):
    return hf.BertForSequenceClassification(hf.BertConfig(**SMALL, intermediate_size=37, **overrides))


def test_dtypes_are_kept_one_by_one(tmp_path):
    teacher = tiny_bert().to(torch.bfloat16)
    teacher.classifier.float()
    student = create_student(teacher)
    assert student.bert.encoder.layer[1].output.dense.weight.dtype == torch.bfloat16
    assert student.classifier.weight.dtype == torch.float32
    student.classifier.to(torch.bfloat16)
    student.save_pretrained(tmp_path)
    assert hf.BertForSequenceClassification.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_a_frozen_teacher_gives_a_student_that_can_learn():
    teacher = tiny_bert().requires_grad_(False)
    student = create_student(teacher)
    student(input_ids=torch.tensor([[5, 6]]), labels=torch.tensor([1])).loss.backward()
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert student.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_weights_that_the_teacher_does_not_tie_are_not_tied():
    teacher = tiny_llama(tie_word_embeddings=True)
    assert teacher.lm_head.weight is teacher.model.embed_tokens.weight
    teacher.lm_head.weight = nn.Parameter(torch.randn_like(teacher.lm_head.weight))
    student = create_student(teacher)
    assert student.lm_head.weight.equal(teacher.lm_head.weight)
    assert student.model.embed_tokens.weight.equal(teacher.model.embed_tokens.weight)


def test_buffers_that_are_not_saved_are_copied():
    teacher = tiny_llama()
    teacher.model.rotary_emb.inv_freq.mul_(0.5)
    student = create_student(teacher)
    assert student.model.rotary_emb.inv_freq.equal(teacher.model.rotary_emb.inv_freq)
    assert not any(tensor.is_meta for tensor in (*student.parameters(), *student.buffers()))


def test_generation_settings_are_copied():
    teacher = tiny_llama()
    teacher.generation_config.max_new_tokens = 7
    student = create_student(teacher)
    assert student.generation_config.max_new_tokens == 7
    student.generation_config.max_new_tokens = 8
    assert teacher.generation_config.max_new_tokens == 7


def test_gradient_checkpointing_and_hooks_stay_with_the_teacher():
    teacher = tiny_bert()
    teacher.activation_checkpointing_enable()
    teacher.register_forward_hook(lambda *_: None)
    student = create_student(teacher)
    assert not student.is_activation_checkpointing
    assert not student._forward_hooks


def test_a_teacher_placed_by_device_map(tmp_path):
    teacher = tiny_llama()
    teacher.save_pretrained(tmp_path)
    placed = hf.LlamaForCausalLM.from_pretrained(tmp_path, device_map="cpu")
    assert create_student(placed).model.layers[1].mlp.up_proj.weight.equal(teacher.model.layers[2].mlp.up_proj.weight)
    rest = (
        "model.embed_tokens",
        "model.norm",
        "model.rotary_emb",
        "lm_head",
        *(f"model.layers.{i}" for i in range(3)),
    )
    device_map = {**dict.fromkeys(rest, "cpu"), "model.layers.3": "disk"}
    offloaded = hf.LlamaForCausalLM.from_pretrained(
        tmp_path, device_map=device_map, offload_folder=tmp_path / "offloaded"
    )
    with pytest.raises(InputError, match="not in memory .*; load the teacher on the CPU"):
        create_student(offloaded)


def test_a_quantised_teacher_is_refused(tmp_path):
    teacher = tiny_llama()
    teacher.config.quantization_config = hf.BitNetQuantConfig()
    teacher.save_pretrained(tmp_path)
    quantised = hf.LlamaForCausalLM.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    with pytest.raises(InputError, match="the teacher is quantised"):
        create_student(quantised)


def test_a_teacher_that_is_not_what_its_configuration_says_is_refused():
    teacher = tiny_bert()
    teacher.bert.encoder.layer = teacher.bert.encoder.layer[:3]
    with pytest.raises(InputError, match="bert.encoder.layer.3.* is missing, and its configuration calls for"):
        create_student(teacher)
    teacher = tiny_bert()
    teacher.extra_head = nn.Linear(32, 2)
    with pytest.raises(InputError, match="extra_head.weight is .*calls for no such weight"):
        create_student(teacher)
    teacher = tiny_bert()
    teacher.classifier = nn.Linear(32, 5)
    with pytest.raises(InputError, match=r"classifier.weight is \(5, 32\), and its configuration calls for \(2, 32\)"):
        create_student(teacher)


def test_something_else_than_a_transformers_model_is_refused():
    with pytest.raises(InputError, match="the teacher is a Linear, not a Transformers model"):
        create_student(nn.Linear(2, 2))


def test_a_weight_that_depends_on_the_number_of_layers_is_refused():
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 37}
    config = hf.YolosConfig(**sizes, image_size=[16, 16], patch_size=8, num_detection_tokens=2)
    with pytest.raises(InputError, match="other weights may depend on the number of layers"):
        create_student(hf.YolosModel(config))
