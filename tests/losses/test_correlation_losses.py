"""The two relations of DIST."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import pearsonr

from hf_distill.losses import inter_class_loss, intra_class_loss


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def probabilities(logits, temperature):
    return softmax(logits.double().numpy() / temperature, -1)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_each_items_classes_are_correlated(shape, temperature):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    values = inter_class_loss(student, teacher, temperature)
    assert values.shape == shape[:-1]
    rows = (probabilities(logits, temperature).reshape(-1, 4) for logits in (student, teacher))
    expected = [temperature**2 * (1 - pearsonr(q, p).statistic) for q, p in zip(*rows, strict=True)]
    np.testing.assert_allclose(values.flatten().numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_each_classes_items_are_correlated(temperature):
    student, teacher = random_logits(5, 4), random_logits(5, 4, seed=1)
    columns = (probabilities(logits, temperature).T for logits in (student, teacher))
    expected = np.mean([temperature**2 * (1 - pearsonr(q, p).statistic) for q, p in zip(*columns, strict=True)])
    assert intra_class_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-4)


LOSSES = {"inter": inter_class_loss, "intra": intra_class_loss}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@each_loss
def test_zero_at_equality_and_positive_elsewhere(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4)
    values = loss(student, teacher, 2.0)
    values.sum().backward()
    assert values.abs().max() < 1e-5
    assert student.grad.abs().max() < 1e-5
    assert loss(random_logits(5, 4), random_logits(5, 4, seed=1), 2.0).min() > 0


def test_only_the_form_of_a_distribution_matters():
    """Probabilities a · p + b correlate fully with p."""
    p = torch.softmax(random_logits(5, 4), -1)
    student = (0.5 * p + 0.125).log()
    torch.testing.assert_close(inter_class_loss(student, p.log(), 1.0), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(intra_class_loss(student, p.log(), 1.0), torch.zeros(()), rtol=0, atol=1e-5)


@each_loss
def test_the_gradient_is_that_of_the_written_out_correlation(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4, seed=1)
    loss(student, teacher, 2.0).mean().backward()

    twin = student.detach().double().requires_grad_()
    q, p = torch.softmax(twin / 2, -1), torch.softmax(teacher.double() / 2, -1)
    if loss is intra_class_loss:
        q, p = q.T, p.T
    rows = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(q, p, strict=True)]
    (4 * (1 - torch.stack(rows))).mean().backward()
    torch.testing.assert_close(student.grad.double(), twin.grad, rtol=1e-4, atol=1e-5)


@each_loss
def test_the_gradient_reaches_only_the_student(loss):
    student, teacher = random_logits(5, 4).requires_grad_(), random_logits(5, 4, seed=1).requires_grad_()
    loss(student, teacher, 2.0).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_single_precision(loss, dtype):
    student, teacher = random_logits(5, 4).to(dtype), random_logits(5, 4, seed=1).to(dtype)
    values = loss(student, teacher, 2.0)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(student.float(), teacher.float(), 2.0), rtol=0, atol=0)


@each_loss
@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_what_is_constant_correlates_with_nothing(loss, level):
    """As many items and classes as make the mean of equal probabilities inexact."""
    student, teacher = torch.full((11, 12), level, requires_grad=True), random_logits(11, 12)
    values = loss(student, teacher, 2.0)
    values.sum().backward()
    torch.testing.assert_close(values, torch.full_like(values, 4.0))
    assert student.grad.abs().max() == 0
    torch.testing.assert_close(loss(teacher, student, 2.0), torch.full_like(values, 4.0))


def test_two_classes_agree_or_disagree():
    student = torch.tensor([[1.0, 0.0], [0.0, 3.0]], requires_grad=True)
    values = inter_class_loss(student, torch.tensor([[5.0, 0.0], [2.0, 0.0]]), 2.0)
    values.sum().backward()
    torch.testing.assert_close(values, torch.tensor([0.0, 8.0]))
    assert student.grad.abs().max() < 1e-5


def test_one_class_and_one_item_and_none_have_no_gradient():
    for loss, shape in ((inter_class_loss, (3, 1)), (intra_class_loss, (1, 4)), (intra_class_loss, (0, 4))):
        student = random_logits(*shape).requires_grad_()
        value = loss(student, random_logits(*shape, seed=1), 2.0)
        value.sum().backward()
        torch.testing.assert_close(value, torch.full_like(value, 4.0))
        assert not student.grad.any()


@each_loss
def test_extreme_logits_stay_finite(loss):
    student = torch.tensor([[1000.0, -1000.0, 0.0], [0.0, -1000.0, 900.0]], requires_grad=True)
    values = loss(student, -student.detach(), 2.0)
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(student.grad).all()
