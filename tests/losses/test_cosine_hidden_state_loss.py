import math

import pytest
import torch

from hf_distill.losses import cosine_hidden_state_loss


def random_states(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_one_minus_the_cosine_at_each_position():
    student, teacher = random_states(2, 3, 5), random_states(2, 3, 5, seed=1)
    values = cosine_hidden_state_loss(student, teacher)
    assert values.shape == (2, 3)
    for row in range(2):
        for position in range(3):
            a, b = student[row, position].tolist(), teacher[row, position].tolist()
            product = sum(x * y for x, y in zip(a, b, strict=True))
            lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
            assert values[row, position].item() == pytest.approx(1 - product / lengths, rel=1e-5)


def test_only_the_direction_matters():
    states = random_states(2, 3, 5)
    torch.testing.assert_close(cosine_hidden_state_loss(3 * states, states), torch.zeros(2, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(cosine_hidden_state_loss(-states, states), torch.full((2, 3), 2.0))


def test_the_gradient_reaches_only_the_student():
    student, teacher = random_states(2, 3, 5).requires_grad_(), random_states(2, 3, 5, seed=1).requires_grad_()
    cosine_hidden_state_loss(student, teacher).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_states_are_compared_in_single_precision(dtype):
    student, teacher = (200 * random_states(2, 3, 500)).to(dtype), (200 * random_states(2, 3, 500, seed=1)).to(dtype)
    values = cosine_hidden_state_loss(student, teacher)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, cosine_hidden_state_loss(student.float(), teacher.float()), rtol=0, atol=0)


def test_a_state_of_zeros_gives_no_nan():
    student = torch.zeros(1, 5, requires_grad=True)
    values = cosine_hidden_state_loss(student, random_states(1, 5))
    values.sum().backward()
    assert values.item() == 1
    assert torch.isfinite(student.grad).all()
