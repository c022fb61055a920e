"""Soft targets of which some tokens were kept; that the draw is right is tested with the sampler."""

import math

import pytest
import torch

from hf_distill.errors import InputError
from hf_distill.losses import ProblemType, soft_target_loss, sparse_soft_target_loss
from hf_distill.losses.counted_items import find_counted_items
from hf_distill.objectives import DistillationObjective, SoftTargets
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.signals import Signals, SparseLogits

TEMPERATURE = 3.0


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def random_sparse(*shape, vocabulary, seed=0):
    """Token ids with repetitions, and probabilities that do not sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(0, vocabulary, shape, generator=generator, dtype=torch.int32)
    entropy = torch.rand(shape[:-1], generator=generator)
    return SparseLogits(token_ids, torch.rand(shape, generator=generator), entropy, TEMPERATURE)


def everything_kept(teacher_logits):
    p = torch.softmax(teacher_logits / TEMPERATURE, -1)
    token_ids = torch.arange(p.shape[-1]).expand(p.shape).flip(-1)
    return SparseLogits(token_ids, p.flip(-1), torch.special.entr(p).sum(-1), TEMPERATURE)


def naive_loss(student, token_ids, probabilities, entropy):
    normaliser = math.log(sum(math.exp(logit / TEMPERATURE) for logit in student))
    log_q = [logit / TEMPERATURE - normaliser for logit in student]
    cross_entropy = -sum(p * log_q[token] for token, p in zip(token_ids, probabilities, strict=True))
    return TEMPERATURE**2 * (cross_entropy - entropy)


def naive_losses(student, sparse):
    values = (student, sparse.token_ids, sparse.probabilities, sparse.entropy)
    return [naive_loss(*row) for row in zip(*(value.tolist() for value in values), strict=True)]


def test_it_is_the_cross_entropy_over_the_kept_tokens_less_the_entropy():
    student, sparse = random_logits(4, 9), random_sparse(4, 5, vocabulary=9)
    assert sparse_soft_target_loss(student, sparse, TEMPERATURE).tolist() == pytest.approx(
        naive_losses(student, sparse), rel=1e-5
    )


def test_the_gradient_is_the_kept_mass_times_q_less_p():
    student, sparse = random_logits(4, 9).requires_grad_(), random_sparse(4, 5, vocabulary=9)
    sparse_soft_target_loss(student, sparse, TEMPERATURE).sum().backward()
    for row in range(4):
        p = [0.0] * 9
        for token, probability in zip(sparse.token_ids[row], sparse.probabilities[row], strict=True):
            p[token] += probability.item()
        q = torch.softmax(student[row] / TEMPERATURE, -1).tolist()
        expected = [TEMPERATURE * (sum(p) * q[token] - p[token]) for token in range(9)]
        assert student.grad[row].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_with_every_token_kept_it_is_the_dense_loss():
    student, teacher = random_logits(2, 3, 9), random_logits(2, 3, 9, seed=1)
    values = sparse_soft_target_loss(student, everything_kept(teacher), TEMPERATURE)
    torch.testing.assert_close(values, soft_target_loss(student, teacher, TEMPERATURE), rtol=1e-4, atol=1e-5)
    equal = sparse_soft_target_loss(teacher, everything_kept(teacher), TEMPERATURE)
    torch.testing.assert_close(equal, torch.zeros(2, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_single_precision(dtype):
    student, sparse = random_logits(4, 9).to(dtype), random_sparse(4, 5, vocabulary=9)
    values = sparse_soft_target_loss(student, sparse, TEMPERATURE)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, sparse_soft_target_loss(student.float(), sparse, TEMPERATURE), rtol=0, atol=0)


def test_extreme_logits_stay_finite():
    student = torch.tensor([[1000.0, -1000.0, 0.0]], requires_grad=True)
    values = sparse_soft_target_loss(student, random_sparse(1, 2, vocabulary=3), TEMPERATURE)
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(student.grad).all()


def test_another_temperature_is_refused():
    with pytest.raises(InputError, match="sampled at temperature 3 and the objective's is 2"):
        sparse_soft_target_loss(random_logits(4, 9), random_sparse(4, 5, vocabulary=9), 2.0)


@pytest.mark.parametrize("shape", [(3, 9), (4, 2, 9)])
def test_other_rows_are_refused(shape):
    with pytest.raises(InputError, match=r"one teacher distribution for each"):
        sparse_soft_target_loss(random_logits(*shape), random_sparse(4, 5, vocabulary=9), TEMPERATURE)


ATTENDED = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def soft_term(student, sparse, labels=None, problem_type=ProblemType.SINGLE_LABEL, **options):
    batch = {"input_ids": torch.ones_like(ATTENDED), "attention_mask": ATTENDED}
    if labels is not None:
        batch["labels"] = labels
    counted = find_counted_items(batch, problem_type, False, False)
    objective = DistillationObjective([SoftTargets(temperature=TEMPERATURE, **options)])
    micro_batch = MicroBatch(labels, counted, counted.counts(), problem_type)
    return objective.values(Signals(student), Signals(None, sparse=sparse), micro_batch)


@pytest.mark.parametrize("labels", [None, torch.tensor([[1, -100, 2, -100], [0, -100, -100, -100]])])
def test_the_objective_averages_over_the_tokens_that_count(labels):
    student, sparse = random_logits(2, 4, 9), random_sparse(2, 4, 5, vocabulary=9)
    values = [naive_losses(student[i], SparseLogits(*(x[i] for x in parts(sparse)), TEMPERATURE)) for i in range(2)]
    counts = ATTENDED == 1 if labels is None else labels != -100
    counted = [values[row][position] for row, position in counts.nonzero().tolist()]
    found = soft_term(student, sparse, labels)["soft_target_loss"]
    assert found.item() == pytest.approx(sum(counted) / len(counted), rel=1e-5)


def parts(sparse):
    return sparse.token_ids, sparse.probabilities, sparse.entropy


def test_the_objective_averages_over_examples():
    student, sparse = random_logits(2, 9), random_sparse(2, 5, vocabulary=9)
    found = soft_term(student, sparse, torch.tensor([3, 0]))["soft_target_loss"]
    assert found.item() == pytest.approx(sum(naive_losses(student, sparse)) / 2, rel=1e-5)


@pytest.mark.parametrize("problem_type", [ProblemType.MULTI_LABEL, ProblemType.REGRESSION])
def test_sampled_tokens_fit_exclusive_classes_alone(problem_type):
    with pytest.raises(InputError, match=f"sampled tokens and the task is {problem_type.value}"):
        soft_term(random_logits(2, 9), random_sparse(2, 5, vocabulary=9), problem_type=problem_type)


@pytest.mark.parametrize("options", [{"loss": "reverse_kl"}, {"loss": "dist"}, {"weigh_by_confidence": True}])
def test_sampled_tokens_give_the_forward_divergence_alone(options):
    with pytest.raises(InputError, match="sampled tokens, from which only forward_kl"):
        soft_term(random_logits(2, 9), random_sparse(2, 5, vocabulary=9), **options)
