"""The soft targets of every loss and problem, against loops over the answers that count."""

import math

import pytest
import torch
from objectives.micro_batches import divergence, kl, mean, micro_batch, random_tensor, signals_of, softmax
from scipy.stats import pearsonr

from hf_distill.errors import InputError
from hf_distill.objectives import Schedule, SoftTargets
from hf_distill.problem_type import ProblemType

TEMPERATURE = 3.0
LABELS = torch.tensor([[1, -100, 2, -100], [0, 2, -100, 1]])
LABELLED = (LABELS != -100).nonzero().tolist()


def soft(logits):
    return softmax([logit / TEMPERATURE for logit in logits])


def jensen_shannon(student, teacher, beta):
    q, p = soft(student), soft(teacher)
    m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    return TEMPERATURE**2 * (beta * kl(p, m) + (1 - beta) * kl(q, m))


LOSSES = {
    "forward_kl": lambda s, t: divergence(s, t, TEMPERATURE),
    "reverse_kl": lambda s, t: divergence(t, s, TEMPERATURE),
    "jensen_shannon": lambda s, t: jensen_shannon(s, t, 0.3),
    "mse": lambda s, t: mean((a - b) ** 2 for a, b in zip(s, t, strict=True)),
}


def value(student, teacher, labels=None, problem_type=ProblemType.SINGLE_LABEL, **options):
    term = SoftTargets(temperature=TEMPERATURE, **options)
    return term(signals_of(student), signals_of(teacher), micro_batch(labels, problem_type)).item()


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_exclusive_classes(loss, weighed):
    student, teacher = random_tensor(2, 4, 3), random_tensor(2, 4, 3, seed=1)
    expected = mean(
        LOSSES[loss](student[i, j].tolist(), teacher[i, j].tolist())
        * (max(softmax(teacher[i, j].tolist())) if weighed else 1)
        for i, j in LABELLED
    )
    found = value(student, teacher, LABELS, loss=loss, beta=0.3, weigh_by_confidence=weighed)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_several_labels_are_each_on_or_off(loss, weighed):
    labels = torch.tensor([[1.0, -100, 0], [0, 1, 1]])
    student, teacher = random_tensor(2, 3), random_tensor(2, 3, seed=1)
    expected = mean(
        LOSSES[loss]([student[place].item(), 0.0], [teacher[place].item(), 0.0])
        * (1 / (1 + math.exp(-abs(teacher[place].item()))) if weighed else 1)
        for place in map(tuple, (labels != -100).nonzero().tolist())
    )
    options = {"loss": loss, "beta": 0.3, "weigh_by_confidence": weighed}
    found = value(student, teacher, labels, ProblemType.MULTI_LABEL, **options)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", [*LOSSES])
def test_a_score_is_compared_by_its_squared_error(loss):
    student, teacher = random_tensor(2, 1), random_tensor(2, 1, seed=1)
    expected = (student - teacher).pow(2).mean().item()
    found = value(student, teacher, torch.tensor([1.0, 2.0]), ProblemType.REGRESSION, loss=loss)
    assert found == pytest.approx(expected, rel=1e-4)


def test_dist_correlates_the_classes_of_an_answer_and_the_answers_of_a_class():
    student, teacher = random_tensor(2, 4, 3), random_tensor(2, 4, 3, seed=1)
    own, other = ([soft(logits[i, j].tolist()) for i, j in LABELLED] for logits in (student, teacher))
    between = mean(1 - pearsonr(s, t)[0] for s, t in zip(own, other, strict=True))
    columns = [list(zip(*answers, strict=True)) for answers in (own, other)]
    within = mean(1 - pearsonr(s, t)[0] for s, t in zip(*columns, strict=True))
    expected = TEMPERATURE**2 * (between + within)
    assert value(student, teacher, LABELS, loss="dist") == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("problem_type", [ProblemType.MULTI_LABEL, ProblemType.REGRESSION])
def test_dist_needs_exclusive_classes(problem_type):
    with pytest.raises(InputError, match=f"dist and the task is {problem_type.value}.*forward_kl"):
        value(random_tensor(2, 3), random_tensor(2, 3), None, problem_type, loss="dist")


def test_a_score_has_no_confidence():
    with pytest.raises(InputError, match="weigh_by_confidence.*how sure it is of a score"):
        labels = torch.tensor([1.0, 2.0])
        value(random_tensor(2, 1), random_tensor(2, 1), labels, ProblemType.REGRESSION, weigh_by_confidence=True)


def test_the_gradient_reaches_only_the_student():
    for loss in (*LOSSES, "dist"):
        student, teacher = (random_tensor(2, 4, 3, seed=seed).requires_grad_() for seed in (0, 1))
        term = SoftTargets(loss=loss, weigh_by_confidence=loss != "dist")
        term(signals_of(student), signals_of(teacher), micro_batch(LABELS)).backward()
        assert student.grad.abs().sum() > 0 and teacher.grad is None


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, Schedule(2.0, 0.0)])
def test_a_temperature_is_above_0(temperature):
    with pytest.raises(InputError, match="temperature is .*above 0"):
        SoftTargets(temperature=temperature)


@pytest.mark.parametrize("beta", [0.0, 1.0, math.nan])
def test_beta_is_a_share(beta):
    with pytest.raises(InputError, match="jensen_shannon_beta is .*between 0 and 1"):
        SoftTargets(beta=beta)


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="soft_target_loss is 'kl'; use one of forward_kl, reverse_kl"):
        SoftTargets(loss="kl")
