"""The comparison is fair only if all variants compute the same thing."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert

from hf_distill import create_student
from hf_distill.benchmarks.clock import StepClock
from hf_distill.benchmarks.recipe import Recipe
from hf_distill.benchmarks.variants import VARIANTS, Ingredients

STEPS, BATCH_SIZE = 5, 8


def trained(name, folder, times=1):
    """The losses of all steps and the weights after them, from the same weights and rows for every variant."""
    teacher = tiny_bert()
    student = create_student(teacher)
    recipe = Recipe(BATCH_SIZE, str(folder), max_steps=STEPS, learning_rate=3e-3, max_grad_norm=0.5, use_cpu=True)
    clock = StepClock(1, STEPS - 1)
    rows = random_rows(STEPS * BATCH_SIZE)
    given = Ingredients(student, teacher, rows, PaddingCollator(), recipe, clock, folder / "cache")
    own = {} if name == "floor" else {"train_sampling_strategy": "sequential", "logging_steps": 1}
    training = VARIANTS[name](given, **own)
    losses = []
    for _ in range(times):
        training.train()
        assert clock.total().wall > 0
        if name == "floor":
            losses += [loss.item() for loss in training.losses]
        else:
            losses += [logs["loss"] for logs in training.state.log_history if "loss" in logs]
    return losses, student.state_dict()


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return trained("floor", tmp_path_factory.mktemp("floor"), times=2)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "floor"])
def test_losses_and_weights_are_those_of_the_loop_written_by_hand(name, by_hand, tmp_path):
    """Also in a second training with the same trainer, as the rounds of the benchmark are."""
    losses, weights = trained(name, tmp_path, times=2)
    expected_losses, expected_weights = by_hand
    assert len(losses) == 2 * STEPS
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert weights.keys() == expected_weights.keys()
    # Softmax takes no notice of a key's bias, so its gradient is rounding alone, which Adam blows up to full steps.
    for key in {key for key in weights if not key.endswith("key.bias")}:
        torch.testing.assert_close(weights[key], expected_weights[key], rtol=0, atol=1e-5, msg=key)


def test_the_weights_move(by_hand):
    student = create_student(tiny_bert())
    start = copy.deepcopy(student.state_dict())
    assert max((by_hand[1][key] - weight).abs().max() for key, weight in start.items()) > 1e-2


def test_the_first_loss_is_the_objective(by_hand):
    teacher = tiny_bert()
    student = create_student(teacher)
    batch = PaddingCollator()(list(random_rows(STEPS * BATCH_SIZE))[:BATCH_SIZE])
    labels = batch.pop("labels").tolist()
    with torch.no_grad():
        scores = [model(**batch).logits.double().numpy() for model in (student, teacher)]

    def probabilities(logits, temperature):
        powers = [math.exp(logit / temperature) for logit in logits]
        return [power / sum(powers) for power in powers]

    losses = []
    for student_logits, teacher_logits, label in zip(*scores, labels, strict=True):
        q, p = probabilities(student_logits, 2.0), probabilities(teacher_logits, 2.0)
        divergence = sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))
        losses.append(0.5 * 4.0 * divergence - 0.5 * math.log(probabilities(student_logits, 1.0)[label]))
    assert by_hand[0][0] == pytest.approx(np.mean(losses), rel=1e-5)
