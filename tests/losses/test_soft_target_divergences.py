"""Reverse divergence, Jensen-Shannon divergence and squared error of the logits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from hf_distill.errors import InputError
from hf_distill.losses import (
    jensen_shannon_loss,
    logit_mse_loss,
    reverse_soft_target_loss,
    soft_target_loss,
)


def random_logits(*shape, seed=0, scale=3.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def divergence(first, second):
    return rel_entr(first, second).sum(-1)


def naive_reverse(student, teacher, temperature):
    q, p = (softmax(logits.double().numpy() / temperature, -1) for logits in (student, teacher))
    return temperature**2 * divergence(q, p)


def naive_jensen_shannon(student, teacher, temperature, beta):
    q, p = (softmax(logits.double().numpy() / temperature, -1) for logits in (student, teacher))
    m = beta * p + (1 - beta) * q
    return temperature**2 * (beta * divergence(p, m) + (1 - beta) * divergence(q, m))


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
def test_the_reverse_divergence_exchanges_the_two(shape, temperature):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    values = reverse_soft_target_loss(student, teacher, temperature)
    assert values.shape == shape[:-1]
    np.testing.assert_allclose(values.numpy(), naive_reverse(student, teacher, temperature), rtol=1e-4)
    torch.testing.assert_close(values, soft_target_loss(teacher, student, temperature))


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("beta", [0.1, 0.5, 0.8])
def test_jensen_shannon_measures_both_against_their_mixture(shape, temperature, beta):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    values = jensen_shannon_loss(student, teacher, temperature, beta)
    assert values.shape == shape[:-1]
    np.testing.assert_allclose(values.numpy(), naive_jensen_shannon(student, teacher, temperature, beta), rtol=1e-4)


def test_jensen_shannon_is_symmetric_at_one_half_and_bounded():
    student, teacher = random_logits(50, 4, scale=30.0), random_logits(50, 4, seed=1, scale=30.0)
    values = jensen_shannon_loss(student, teacher, 1.0, 0.5)
    torch.testing.assert_close(values, jensen_shannon_loss(teacher, student, 1.0, 0.5))
    assert values.max() <= math.log(2) + 1e-6


@pytest.mark.parametrize(
    ("beta", "scale", "limit"), [(1e-3, 1e-3, soft_target_loss), (1 - 1e-3, 1e-3, reverse_soft_target_loss)]
)
def test_jensen_shannon_tends_to_the_forward_and_the_reverse_divergence(beta, scale, limit):
    gradients, values = [], []
    for loss in (lambda *logits: jensen_shannon_loss(*logits, 2.0, beta) / scale, lambda *x: limit(*x, 2.0)):
        student, teacher = random_logits(5, 4, scale=1.0).requires_grad_(), random_logits(5, 4, seed=1, scale=1.0)
        values.append(loss(student, teacher))
        values[-1].sum().backward()
        gradients.append(student.grad)
    torch.testing.assert_close(*values, rtol=0.01, atol=2e-3)
    torch.testing.assert_close(*gradients, rtol=0.01, atol=2e-3)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, 1.5])
def test_beta_is_a_share(beta):
    with pytest.raises(InputError, match=f"beta is {beta}"):
        jensen_shannon_loss(random_logits(5, 4), random_logits(5, 4, seed=1), 2.0, beta)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
def test_the_squared_error_of_the_logits_is_a_mean_over_the_classes(shape):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    values = logit_mse_loss(student, teacher)
    assert values.shape == shape[:-1]
    pairs = zip(student.reshape(-1, 4).tolist(), teacher.reshape(-1, 4).tolist(), strict=True)
    expected = [sum((z - v) ** 2 for z, v in zip(*pair, strict=True)) / 4 for pair in pairs]
    assert values.flatten().tolist() == pytest.approx(expected, rel=1e-5)


LOSSES = {
    "reverse": lambda student, teacher: reverse_soft_target_loss(student, teacher, 2.0),
    "jensen_shannon": lambda student, teacher: jensen_shannon_loss(student, teacher, 2.0, 0.3),
    "logit_mse": logit_mse_loss,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_zero_at_equality_and_positive_elsewhere(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4)
    values = loss(student, teacher)
    values.sum().backward()
    assert values.abs().max() < 1e-6
    assert student.grad.abs().max() < 1e-6
    assert loss(random_logits(5, 4), random_logits(5, 4, seed=1)).min() > 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_gradient_reaches_only_the_student(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4, seed=1).requires_grad_()
    loss(student, teacher).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_single_precision(loss, dtype):
    student, teacher = random_logits(5, 4).to(dtype), random_logits(5, 4, seed=1).to(dtype)
    values = loss(student, teacher)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(student.float(), teacher.float()), rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_extreme_logits_stay_finite(loss):
    student = torch.tensor([[1000.0, -1000.0, 0.0]], requires_grad=True)
    values = loss(student, -student.detach())
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(student.grad).all()
