import math

import pytest
import torch

from hf_distill.losses import ProblemType, hard_target_loss


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def log_softmax(logits):
    return [logit - math.log(sum(math.exp(other) for other in logits)) for logit in logits]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_with_label_smoothing(smoothing):
    logits, labels = random_logits(2, 3, 4), torch.tensor([[0, 3, -100], [-100, 2, 2]])
    values = hard_target_loss(logits, labels, ProblemType.SINGLE_LABEL, smoothing)
    assert values.shape == labels.shape
    for row in range(2):
        for token in range(3):
            log_probabilities = log_softmax(logits[row, token].tolist())
            label = labels[row, token].item()
            target = [smoothing / 4 + (1 - smoothing) * (index == label) for index in range(4)]
            expected = -sum(p * q for p, q in zip(target, log_probabilities, strict=True))
            assert values[row, token].item() == pytest.approx(0 if label == -100 else expected, rel=1e-5)


def test_binary_cross_entropy_with_unknown_labels():
    logits, labels = random_logits(3, 4), torch.tensor([[1.0, 0, -100, 1], [0, 0, 0.3, 1], [-100, -100, -100, -100]])
    values = hard_target_loss(logits, labels, ProblemType.MULTI_LABEL)
    for row in range(3):
        for index in range(4):
            on, label = 1 / (1 + math.exp(-logits[row, index].item())), labels[row, index].item()
            expected = -(label * math.log(on) + (1 - label) * math.log(1 - on))
            assert values[row, index].item() == pytest.approx(0 if label == -100 else expected, rel=1e-4)


@pytest.mark.parametrize("label_type", [torch.float32, torch.float64, torch.long])
def test_squared_error_also_of_a_score_of_minus_100(label_type):
    logits, labels = random_logits(4, 1), torch.tensor([1, -100, 0, 5]).to(label_type)
    values = hard_target_loss(logits, labels, ProblemType.REGRESSION)
    expected = [(score - label) ** 2 for [score], label in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert values.shape == (4,)
    torch.testing.assert_close(values.tolist(), expected, rtol=1e-5, atol=0)


def test_several_scores_for_each_example():
    logits, labels = random_logits(3, 2), random_logits(3, 2, seed=1)
    torch.testing.assert_close(hard_target_loss(logits, labels, ProblemType.REGRESSION), (logits - labels) ** 2)


@pytest.mark.parametrize("problem_type", list(ProblemType))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_scored_in_single_precision(problem_type, dtype):
    logits = random_logits(3, 4).to(dtype)
    labels = torch.tensor([0, 3, 1]) if problem_type is ProblemType.SINGLE_LABEL else torch.eye(4)[:3]
    values = hard_target_loss(logits, labels, problem_type)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, hard_target_loss(logits.float(), labels, problem_type), rtol=0, atol=0)


@pytest.mark.parametrize("problem_type", [ProblemType.SINGLE_LABEL, ProblemType.MULTI_LABEL])
def test_what_has_no_label_gets_no_gradient(problem_type):
    logits = random_logits(2, 4).requires_grad_()
    labels = torch.tensor([-100, 2])
    if problem_type is ProblemType.MULTI_LABEL:
        labels = torch.tensor([[-100.0] * 4, [0, 0, 1, 1]])
    hard_target_loss(logits, labels, problem_type, 0.0).sum().backward()
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().min() > 0
