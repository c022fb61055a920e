import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from hf_distill.errors import InputError
from hf_distill.losses import ProblemType, mean_teacher_logits, soft_target_loss
from hf_distill.signals import MixedLogits

WEIGHTS = (0.5, 0.2, 0.3)
SHAPES = [(5, 4), (2, 3, 4)]


def random_logits(*shape, seed=0, scale=3.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def three_teachers(*shape):
    return tuple(random_logits(*shape, seed=seed) for seed in range(3))


def mixture(answer, logits, temperature):
    """Σ w · answer(z / T), in double precision."""
    return sum(w * answer(z.double().numpy() / temperature) for w, z in zip(WEIGHTS, logits, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_exclusive_classes_get_the_mean_of_the_tempered_distributions(shape, temperature):
    logits = three_teachers(*shape)
    mean = mean_teacher_logits(MixedLogits(logits, WEIGHTS), temperature, ProblemType.SINGLE_LABEL)
    expected = mixture(lambda scaled: softmax(scaled, -1), logits, temperature)
    np.testing.assert_allclose(softmax(mean.double().numpy() / temperature, -1), expected, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_labels_on_or_off_get_the_mean_of_the_tempered_sigmoids(temperature):
    logits = three_teachers(5, 4)
    mean = mean_teacher_logits(MixedLogits(logits, WEIGHTS), temperature, ProblemType.MULTI_LABEL)
    np.testing.assert_allclose(
        expit(mean.double().numpy() / temperature), mixture(expit, logits, temperature), rtol=1e-5
    )


def test_scores_get_their_mean_whatever_the_temperature():
    logits = three_teachers(5, 2)
    mean = mean_teacher_logits(MixedLogits(logits, WEIGHTS), 7.0, ProblemType.REGRESSION)
    np.testing.assert_allclose(mean.numpy(), mixture(lambda scaled: scaled, logits, 1.0), rtol=1e-5)


@pytest.mark.parametrize("problem_type", ProblemType)
@pytest.mark.parametrize("number", [1, 3])
def test_one_teacher_or_equal_ones_answer_as_one(problem_type, number):
    logits = random_logits(5, 4)
    mixed = MixedLogits((logits,) * number, WEIGHTS if number == 3 else (1.0,))
    mean = mean_teacher_logits(mixed, 2.0, problem_type)
    if problem_type is ProblemType.SINGLE_LABEL:
        mean, logits = mean.log_softmax(-1), logits.log_softmax(-1)
    torch.testing.assert_close(mean, logits, rtol=1e-5, atol=1e-5)


def on_and_off_loss(student, teacher, temperature):
    """Each label is a distribution of its own."""
    pairs = (torch.stack([logits, logits * 0], -1) for logits in (student, teacher))
    return soft_target_loss(*pairs, temperature)


LOSSES = {ProblemType.SINGLE_LABEL: soft_target_loss, ProblemType.MULTI_LABEL: on_and_off_loss}


@pytest.mark.parametrize(("problem_type", "loss"), LOSSES.items())
def test_the_students_gradient_is_the_weighted_mean_of_the_teachers_gradients(problem_type, loss):
    logits, gradients = three_teachers(5, 4), []
    for teacher in (*logits, mean_teacher_logits(MixedLogits(logits, WEIGHTS), 2.0, problem_type)):
        student = random_logits(5, 4, seed=9).requires_grad_()
        loss(student, teacher, 2.0).sum().backward()
        gradients.append(student.grad)
    expected = sum(weight * gradient for weight, gradient in zip(WEIGHTS, gradients[:3], strict=True))
    torch.testing.assert_close(gradients[3], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("problem_type", ProblemType)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_averaged_in_single_precision(problem_type, dtype):
    logits = tuple(z.to(dtype) for z in three_teachers(5, 4))
    mean = mean_teacher_logits(MixedLogits(logits, WEIGHTS), 2.0, problem_type)
    assert mean.dtype == torch.float32
    in_single = MixedLogits(tuple(z.float() for z in logits), WEIGHTS)
    torch.testing.assert_close(mean, mean_teacher_logits(in_single, 2.0, problem_type), rtol=0, atol=0)


@pytest.mark.parametrize("problem_type", LOSSES)
def test_certain_teachers_that_disagree_or_agree_stay_finite(problem_type):
    certain = torch.tensor([[1000.0, -1000.0, 0.0]])
    for other in (certain, -certain):
        mean = mean_teacher_logits(MixedLogits((certain, other), (0.5, 0.5)), 1.0, problem_type)
        assert torch.isfinite(mean).all()
    disagreement = torch.sigmoid(mean) if problem_type is ProblemType.MULTI_LABEL else torch.softmax(mean, -1)
    torch.testing.assert_close(disagreement[0, :2], torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("problem_type", ProblemType)
def test_teachers_of_different_shape_are_refused(problem_type):
    mixed = MixedLogits((random_logits(5, 4), random_logits(5, 1)), (0.5, 0.5))
    with pytest.raises(InputError, match=r"\(5, 4\), \(5, 1\).*same classes"):
        mean_teacher_logits(mixed, 2.0, problem_type)
