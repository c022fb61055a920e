"""Squared errors of hidden states, as they are and scaled to length 1."""

import math

import pytest
import torch
from torch.nn import functional as F

from hf_distill.errors import InputError
from hf_distill.losses import mse_hidden_state_loss, normalised_hidden_state_loss


def random_states(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_mse(student, teacher):
    return sum((h - g) ** 2 for h, g in zip(student, teacher, strict=True)) / len(student)


def naive_normalised(student, teacher):
    student_length, teacher_length = (math.sqrt(sum(x * x for x in state)) for state in (student, teacher))
    return sum((h / student_length - g / teacher_length) ** 2 for h, g in zip(student, teacher, strict=True))


LOSSES = {"mse": (mse_hidden_state_loss, naive_mse), "normalised": (normalised_hidden_state_loss, naive_normalised)}
each_loss = pytest.mark.parametrize(("loss", "naive"), LOSSES.values(), ids=LOSSES)


@each_loss
def test_one_distance_for_each_position(loss, naive):
    student, teacher = random_states(2, 3, 5), random_states(2, 3, 5, seed=1)
    values = loss(student, teacher)
    assert values.shape == (2, 3)
    for row in range(2):
        for position in range(3):
            expected = naive(student[row, position].tolist(), teacher[row, position].tolist())
            assert values[row, position].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(loss(student[:, 0], teacher[:, 0]), values[:, 0])


@each_loss
def test_zero_at_equality(loss, naive):
    student = random_states(2, 3, 5).requires_grad_()
    values = loss(student, student.detach())
    values.sum().backward()
    assert values.abs().max() == 0 and student.grad.abs().max() == 0


def test_normalised_states_have_no_length():
    student, teacher = random_states(2, 3, 5), random_states(2, 3, 5, seed=1)
    values = normalised_hidden_state_loss(student, teacher)
    torch.testing.assert_close(normalised_hidden_state_loss(7 * student, teacher / 9), values)
    torch.testing.assert_close(values, 2 * (1 - F.cosine_similarity(student, teacher, dim=-1)))


@each_loss
def test_the_gradient_reaches_only_the_student(loss, naive):
    student, teacher = random_states(2, 3, 5).requires_grad_(), random_states(2, 3, 5, seed=1).requires_grad_()
    loss(student, teacher).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_states_are_compared_in_single_precision(loss, naive, dtype):
    student, teacher = (200 * random_states(2, 3, 500)).to(dtype), (200 * random_states(2, 3, 500, seed=1)).to(dtype)
    values = loss(student, teacher)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(student.float(), teacher.float()), rtol=0, atol=0)


def test_a_state_of_zeros_has_no_direction():
    student = torch.zeros(2, 5, requires_grad=True)
    values = normalised_hidden_state_loss(student, torch.stack([random_states(5), torch.zeros(5)]))
    values.sum().backward()
    torch.testing.assert_close(values, torch.tensor([1.0, 0.0]))
    assert student.grad.abs().max() == 0


@each_loss
@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 4, 5), (2, 1, 5)])
def test_unequal_shapes_are_refused(loss, naive, shape):
    with pytest.raises(InputError, match=r"\(2, 3, 5\).*projection"):
        loss(random_states(2, 3, 5), random_states(*shape))
