import math

import pytest
import torch

from hf_distill.losses import soft_score_loss, soft_target_loss


def random_logits(*shape, seed=0, scale=3.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def softmax(logits, temperature):
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def divergence(teacher_probabilities, student_probabilities):
    return sum(p * math.log(p / q) for p, q in zip(teacher_probabilities, student_probabilities, strict=True))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
def test_soft_target_loss_is_the_divergence_of_softened_distributions(temperature):
    student, teacher = random_logits(5, 4), random_logits(5, 4, seed=1)
    expected = [
        temperature**2 * divergence(softmax(t, temperature), softmax(s, temperature))
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    torch.testing.assert_close(soft_target_loss(student, teacher, temperature).tolist(), expected, rtol=1e-5, atol=0)


def test_the_classes_are_the_last_dimension():
    student, teacher = random_logits(2, 3, 4), random_logits(2, 3, 4, seed=1)
    values = soft_target_loss(student, teacher, 2.0)
    assert values.shape == (2, 3)
    for row in range(2):
        for token in range(3):
            expected = 4 * divergence(
                softmax(teacher[row, token].tolist(), 2.0), softmax(student[row, token].tolist(), 2.0)
            )
            assert values[row, token].item() == pytest.approx(expected, rel=1e-5)


def test_soft_score_loss_is_the_squared_distance_to_the_teachers_score():
    student, teacher = random_logits(7), random_logits(7, seed=1)
    expected = [(s - t) ** 2 for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    torch.testing.assert_close(soft_score_loss(student, teacher).tolist(), expected, rtol=1e-5, atol=0)


LOSSES = {
    "soft_target_loss": lambda student, teacher: soft_target_loss(student, teacher, 2.0),
    "soft_score_loss": soft_score_loss,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_zero_at_equality_and_positive_elsewhere(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4)
    values = loss(student, teacher)
    values.sum().backward()
    assert values.abs().max() == 0
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


@pytest.mark.parametrize("num_classes", [2, 5])
def test_a_high_temperature_approaches_logit_matching(num_classes):
    """Hinton et al. 2015, equation 4: for zero-mean logits the gradient tends to that of (1/2N) sum (z - v)^2."""
    student, teacher = random_logits(3, num_classes, scale=1.0), random_logits(3, num_classes, seed=1, scale=1.0)
    student = (student - student.mean(-1, keepdim=True)).float().requires_grad_()
    teacher = (teacher - teacher.mean(-1, keepdim=True)).float()
    values = soft_target_loss(student, teacher, 100.0)
    values.sum().backward()
    torch.testing.assert_close(values, (student - teacher).pow(2).sum(-1) / (2 * num_classes), rtol=0.03, atol=1e-3)
    torch.testing.assert_close(student.grad, (student - teacher).detach() / num_classes, rtol=0.03, atol=5e-3)


def test_the_square_of_the_temperature_keeps_the_size_of_the_gradient():
    def size(temperature):
        student = random_logits(50, 4, scale=1.0).requires_grad_()
        soft_target_loss(student, random_logits(50, 4, seed=1, scale=1.0), temperature).sum().backward()
        return student.grad.norm().item()

    sizes = [size(temperature) for temperature in (1.0, 2.0, 4.0, 16.0, 64.0)]
    assert max(sizes) / min(sizes) < 2
