"""A check leaves no trace in the training that follows."""

import random

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from tiny_tasks import images
from transformers import ResNetConfig, ResNetForImageClassification, set_seed

from hf_distill import (
    DistillationObjective,
    DistillationTrainer,
    HardTargets,
    HiddenStates,
    SoftTargets,
    create_student,
)
from hf_distill.checking import check


def trained(make_arguments, with_check, **values):
    teacher = tiny_bert(dropout=0.3)
    trainer = DistillationTrainer(
        create_student(teacher),
        teacher,
        make_arguments(max_steps=4, **values),
        objective=DistillationObjective([SoftTargets(), HardTargets(), HiddenStates(layer_mapping="auto")]),
        train_dataset=random_rows(24),
        data_collator=PaddingCollator(),
    )
    if with_check:
        check(trainer)
    trainer.train()
    return trainer.model.state_dict(), [entry.get("loss") for entry in trainer.state.log_history]


@pytest.mark.parametrize("values", [{}, {"gradient_accumulation_steps": 2, "train_sampling_strategy": "random"}])
def test_a_run_after_a_check_gives_the_same_bits(make_arguments, values):
    plain, losses = trained(make_arguments, False, logging_steps=1, **values)
    checked, losses_after = trained(make_arguments, True, logging_steps=1, **values)
    assert losses == losses_after
    assert all(torch.equal(weight, checked[name]) for name, weight in plain.items())


def test_weights_modes_buffers_and_random_numbers_stay(make_arguments):
    def resnet():
        set_seed(0)
        config = ResNetConfig(num_labels=3, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
        return ResNetForImageClassification(config).eval()

    student = resnet()
    trainer = DistillationTrainer(student, resnet(), make_arguments(), train_dataset=images())
    student.classifier.train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    modes = [module.training for module in student.modules()]
    drawn_after = []
    for look in (lambda: None, lambda: check(trainer)):
        set_seed(3)
        look()
        drawn_after.append((random.random(), torch.rand(()).item()))
    assert drawn_after[0] == drawn_after[1]
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    assert [module.training for module in student.modules()] == modes
    assert all(weight.grad is None for weight in student.parameters())
    assert student.config.problem_type is None
