from collections import Counter

import numpy as np
import pytest
import torch
from conftest import VOCABULARY, PaddingCollator, tiny_bert
from scipy.special import softmax
from scipy.stats import chisquare, entropy
from tiny_tasks import own_tokens, tiny_gpt2
from transformers import BertForMaskedLM

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError
from hf_distill.losses import soft_target_loss, sparse_soft_target_loss
from hf_distill.signal_needs import NOTHING_ELSE
from hf_distill.signals import Signals, SparseLogits
from hf_distill.teachers import LiveTeacher
from hf_distill.teachers.sparse_sampling import SparseSampling

TEMPERATURE = 2.0


def random_logits(*shape, seed=0, scale=4.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def sampling(top_k=2, samples=3, temperature=TEMPERATURE, seed=0):
    return SparseSampling(top_k, samples, temperature, seed)


def loss_and_gradient(loss, student, teacher):
    student = student.clone().requires_grad_()
    value = loss(student, teacher, TEMPERATURE)
    value.sum().backward()
    return value.detach(), student.grad


def test_it_keeps_the_largest_probabilities_and_an_equal_share_of_the_rest_for_each_draw():
    logits = random_logits(2, 3, 20)
    sparse = sampling()(logits, seed=0)
    assert sparse.token_ids.shape == sparse.probabilities.shape == (2, 3, 5)
    assert sparse.token_ids.dtype == torch.int32 and sparse.temperature == TEMPERATURE
    for row, position in np.ndindex(2, 3):
        p = softmax(logits[row, position].double().numpy() / TEMPERATURE)
        token_ids, kept = sparse.token_ids[row, position].tolist(), sparse.probabilities[row, position].tolist()
        largest = sorted(range(20), key=lambda token, p=p: -p[token])[:2]
        assert token_ids[:2] == largest and not set(token_ids[2:]) & set(largest)
        assert kept == pytest.approx([*p[largest], *[(1 - p[largest].sum()) / 3] * 3], rel=1e-5)
        assert sum(kept) == pytest.approx(1, abs=1e-6)
        assert sparse.entropy[row, position].item() == pytest.approx(entropy(p), rel=1e-5)


@pytest.mark.parametrize("top_k", [0, 2])
def test_tokens_are_drawn_in_proportion_to_their_probability(top_k):
    logits, samples = random_logits(10), 7
    token_ids = sampling(top_k, samples)(logits.expand(3000, 10), seed=0).token_ids[:, top_k:]
    p = softmax(logits.double().numpy() / TEMPERATURE)
    rest = np.sort(np.argsort(-p)[top_k:])
    counts = Counter(token_ids.flatten().tolist())
    assert set(counts) <= set(rest.tolist())
    expected = p[rest] / p[rest].sum() * token_ids.numel()
    assert chisquare([counts[token] for token in rest], expected).pvalue > 1e-3


def test_one_draw_at_a_time_gives_the_dense_loss_and_gradient_on_average():
    """Every possible draw, weighted by its probability."""
    vocabulary, top_k = 7, 2
    teacher, student = (random_logits(vocabulary, seed=seed, scale=2.0).double() for seed in (0, 1))
    p = torch.softmax(teacher / TEMPERATURE, -1)
    order = p.argsort(descending=True)
    largest, rest = order[:top_k], order[top_k:]
    seen = sampling(top_k, 1)(teacher.expand(1000, vocabulary), seed=0)
    outcomes = {tuple(token_ids.tolist()) for token_ids in seen.token_ids}
    assert outcomes == {(*largest.tolist(), token) for token in rest.tolist()}
    value, gradient = torch.zeros(()), torch.zeros(vocabulary, dtype=torch.float64)
    for token in rest:
        # Any row of the sampler in which this token was drawn.
        row = (seen.token_ids[:, -1] == token).nonzero()[0, 0]
        sparse = SparseLogits(seen.token_ids[row], seen.probabilities[row], seen.entropy[row], TEMPERATURE)
        drawn_value, drawn_gradient = loss_and_gradient(sparse_soft_target_loss, student, sparse)
        chance = p[token] / p[rest].sum()
        value, gradient = value + chance * drawn_value, gradient + chance * drawn_gradient
    dense_value, dense_gradient = loss_and_gradient(soft_target_loss, student, teacher)
    assert value.item() == pytest.approx(dense_value.item(), rel=1e-5)
    torch.testing.assert_close(gradient, dense_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("top_k", "samples"), [(8, 8), (0, 16)])
def test_the_estimates_are_unbiased_and_the_largest_probabilities_alone_are_not(top_k, samples):
    """Means over 10,000 draws lie within a few of their standard errors of the dense loss and gradient.

    The 16 largest probabilities, as many as are kept here, are off by dozens of them, normalised or not.
    """
    vocabulary, rows, seeds = 60, 500, 20
    teacher, student = random_logits(vocabulary, scale=2.0), random_logits(vocabulary, seed=1, scale=2.0)
    dense = torch.cat([part.view(-1) for part in loss_and_gradient(soft_target_loss, student, teacher)])
    draw = sampling(top_k, samples)
    estimates = []
    for seed in range(seeds):
        sparse = draw(teacher.expand(rows, vocabulary), seed)
        values, gradients = loss_and_gradient(sparse_soft_target_loss, student.expand(rows, vocabulary), sparse)
        estimates.append(torch.cat([values[:, None], gradients], dim=1))
    estimates = torch.cat(estimates).double()
    standard_errors = estimates.std(0) / len(estimates) ** 0.5
    # Tokens that are always exact have no error but rounding.
    deviations = (estimates.mean(0) - dense) / standard_errors.clamp(min=1e-7)
    assert deviations.abs().max() < 4.5

    p = torch.softmax(teacher / TEMPERATURE, -1)
    largest, largest_ids = p.topk(top_k + samples)
    for kept in (largest, largest / largest.sum()):
        sparse = SparseLogits(largest_ids, kept, torch.special.entr(p).sum(), TEMPERATURE)
        biased = torch.cat([part.view(-1) for part in loss_and_gradient(sparse_soft_target_loss, student, sparse)])
        deviations = (biased - dense).abs() / standard_errors.clamp(min=1e-7)
        assert deviations[0] > 30 and deviations[1:].max() > 30


def test_a_draw_depends_on_both_seeds_alone():
    logits = random_logits(30, 50)
    first = sampling(seed=1)(logits, seed=2).token_ids
    torch.manual_seed(123)
    assert torch.equal(sampling(seed=1)(logits, seed=2).token_ids, first)
    assert not torch.equal(sampling(seed=1)(logits, seed=3).token_ids, first)
    assert not torch.equal(sampling(seed=2)(logits, seed=2).token_ids, first)
    assert not torch.equal(sampling(seed=2)(logits, seed=1).token_ids, first)
    assert sampling()(logits, seed=2**200).token_ids.shape == (30, 5)
    state = torch.get_rng_state()
    sampling()(logits, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_certain_teacher_leaves_no_mass_to_draw_from(dtype):
    logits = torch.zeros(3, 10, dtype=dtype)
    logits[:, 4] = 1000.0
    sparse = sampling(top_k=1, samples=2)(logits, seed=0)
    assert sparse.token_ids[:, 0].tolist() == [4, 4, 4]
    assert sparse.probabilities.tolist() == [[1.0, 0.0, 0.0]] * 3
    assert sparse.entropy.tolist() == [0.0] * 3


def test_the_logits_stay_as_they_are():
    logits = random_logits(4, 20).requires_grad_()
    before = logits.detach().clone()
    sparse = sampling(temperature=1.0)(logits, seed=0)
    assert torch.equal(logits, before) and not sparse.probabilities.requires_grad


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_k": -1}, "top_k is -1.*0 or more"),
        ({"samples": 0}, "samples is 0.*biased.*at least one"),
        ({"temperature": 0.0}, "temperature is 0.0.*above 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        sampling(**values)


def test_keeping_as_many_tokens_as_there_are_is_refused():
    assert sampling(top_k=2, samples=3)(random_logits(6), seed=0).token_ids.shape == (5,)
    with pytest.raises(InputError, match="top_k 2 and samples 3 keep as many tokens as the 5 there are"):
        sampling(top_k=2, samples=3)(random_logits(5), seed=0)


class SampledTeacher(LiveTeacher):
    """A live teacher that answers with sampled tokens, as a cache of them does."""

    draw = sampling(top_k=4, samples=6)

    def __call__(self, inputs, needs=NOTHING_ELSE):
        return Signals(None, sparse=self.draw(super().__call__(inputs).logits, seed=0))


@pytest.mark.parametrize("is_causal", [False, True], ids=["masked tokens", "next token"])
def test_a_step_of_training_on_sampled_tokens(is_causal, make_arguments):
    """The logged loss, against a loop over the labelled positions and the kept tokens."""
    rows = own_tokens(8)
    if is_causal:
        student, teacher = tiny_gpt2(layers=1, seed=1), tiny_gpt2(layers=2, seed=2)
    else:
        student, teacher = (tiny_bert(cls=BertForMaskedLM, layers=n, seed=n) for n in (1, 2))
    batch = PaddingCollator()(list(rows))
    sparse = SampledTeacher.draw(teacher(**batch).logits, seed=0)
    log_q = (student(**batch).logits / TEMPERATURE).log_softmax(-1)
    losses = []
    for row, position in (batch["labels"] != -100).nonzero().tolist():
        if is_causal:
            position -= 1
        if position < 0:
            continue
        kept = zip(sparse.token_ids[row, position], sparse.probabilities[row, position], strict=True)
        cross_entropy = sum(-p.item() * log_q[row, position, token].item() for token, p in kept)
        losses.append(TEMPERATURE**2 * (cross_entropy - sparse.entropy[row, position].item()))

    trainer = DistillationTrainer(
        model=student,
        teacher_model=SampledTeacher(teacher),
        args=make_arguments(temperature=TEMPERATURE, logging_steps=1, max_steps=1, hard_target_weight=0.0),
        train_dataset=rows,
        data_collator=PaddingCollator(),
    )
    # The draw depends on the order of the rows.
    trainer.get_train_dataloader = lambda: torch.utils.data.DataLoader(rows, 8, collate_fn=PaddingCollator())
    trainer.train()
    assert VOCABULARY > SampledTeacher.draw.kept
    assert trainer.state.log_history[0]["soft_target_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
