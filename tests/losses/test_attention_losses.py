"""Attention scores and probabilities, head by head and all heads as one."""

import pytest
import torch
from scipy.special import rel_entr, softmax

from hf_distill.errors import InputError
from hf_distill.losses import attention_probability_loss, attention_score_loss

ATTENDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0]], dtype=torch.bool)
CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
MASKS = {
    "keys": ATTENDED[:, None, None, :],
    "causal": ATTENDED[:, None, None, :] & CAUSAL,
    "one for all": CAUSAL[None, None],
    "pairs": ATTENDED[:, None, None, :] & ATTENDED[:, None, :, None],
    "queries": ATTENDED[:, None, :, None],
}


def random_scores(heads=4, seed=0):
    return torch.randn(3, heads, 5, 5, generator=torch.Generator().manual_seed(seed)) * 2


def naive_score_loss(student, teacher, heads):
    """Of one query, ``(heads, keys)``, only the keys that count."""
    if heads == "sum":
        student, teacher = student.sum(0, keepdims=True), teacher.sum(0, keepdims=True)
    return sum(((a - b) ** 2).mean() for a, b in zip(student, teacher, strict=True)) / len(student)


def naive_probability_loss(student, teacher, heads):
    q, p = softmax(student, -1), softmax(teacher, -1)
    if heads == "sum":
        q, p = q.mean(0, keepdims=True), p.mean(0, keepdims=True)
    return sum(rel_entr(b, a).sum() for a, b in zip(q, p, strict=True)) / len(q)


LOSSES = {
    "scores": (attention_score_loss, naive_score_loss),
    "probabilities": (attention_probability_loss, naive_probability_loss),
}
each_loss = pytest.mark.parametrize(("loss", "naive"), LOSSES.values(), ids=LOSSES)
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
each_way = pytest.mark.parametrize(("heads", "number"), [("each", 4), ("sum", 4), ("sum", 6)])


@each_loss
@each_mask
@each_way
def test_only_the_keys_that_count_are_compared(loss, naive, mask, heads, number):
    student, teacher = random_scores(), random_scores(number, seed=1)
    values = loss(student, teacher, mask, heads)
    assert values.shape == (3, 5)
    whole_mask = mask.expand(3, 1, 5, 5)
    for row in range(3):
        for query in range(5):
            keys = whole_mask[row, 0, query].numpy()
            pair = (scores[row, :, query].double().numpy()[:, keys] for scores in (student, teacher))
            expected = naive(*pair, heads) if keys.any() else 0.0
            assert values[row, query].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@each_loss
def test_queries_and_keys_may_be_of_two_sequences(loss, naive):
    student, teacher = random_scores()[:, :, :2], random_scores(seed=1)[:, :, :2]
    values = loss(student, teacher, ATTENDED[:, None, None, :])
    assert values.shape == (3, 2)
    torch.testing.assert_close(values, loss(random_scores(), random_scores(seed=1), ATTENDED[:, None, None, :])[:, :2])


@each_loss
@each_mask
@each_way
@pytest.mark.parametrize("filling", [1e4, float("inf"), float("-inf"), float("nan")])
def test_what_does_not_count_changes_nothing(loss, naive, mask, heads, number, filling):
    found = []
    for content in (0.0, filling):
        student, teacher = random_scores(), random_scores(number, seed=1)
        student = student.masked_fill(~mask, content).requires_grad_()
        values = loss(student, teacher.masked_fill(~mask, -content), mask, heads)
        values.sum().backward()
        found.append((values.detach(), student.grad))
    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert torch.isfinite(found[1][1]).all()
    assert (found[1][1].masked_select(~mask) == 0).all()


@each_loss
@each_way
def test_without_any_key_there_is_no_loss_and_no_gradient(loss, naive, heads, number):
    student = random_scores().requires_grad_()
    values = loss(student, random_scores(number, seed=1), torch.zeros(3, 1, 1, 5, dtype=torch.bool), heads)
    values.sum().backward()
    assert values.abs().max() == 0 and student.grad.abs().max() == 0


@each_loss
@each_mask
@pytest.mark.parametrize("heads", ["each", "sum"])
def test_zero_at_equality(loss, naive, mask, heads):
    student = random_scores().requires_grad_()
    values = loss(student, student.detach(), mask, heads)
    values.sum().backward()
    assert values.abs().max() < 1e-6 and student.grad.abs().max() < 1e-6


@each_loss
@each_way
def test_summed_heads_have_no_order(loss, naive, heads, number):
    student, teacher, mask = random_scores(), random_scores(number, seed=1), MASKS["causal"]
    values = loss(student, teacher, mask, heads)
    same = torch.allclose(values, loss(student.flip(1), teacher, mask, heads), rtol=1e-4, atol=1e-6)
    assert same is (heads == "sum")


def test_probabilities_ignore_what_all_scores_of_a_query_share():
    student, teacher, mask = random_scores(), random_scores(seed=1), MASKS["keys"]
    values = attention_probability_loss(student, teacher, mask)
    shifted = student + torch.randn(3, 4, 5, 1, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(attention_probability_loss(shifted, teacher, mask), values, rtol=1e-4, atol=1e-6)


@each_loss
@each_way
def test_the_gradient_reaches_only_the_student(loss, naive, heads, number):
    student, teacher = random_scores().requires_grad_(), random_scores(number, seed=1).requires_grad_()
    loss(student, teacher, MASKS["keys"], heads).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize("heads", ["each", "sum"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_are_compared_in_single_precision(loss, naive, heads, dtype):
    student, teacher, mask = random_scores().to(dtype), random_scores(seed=1).to(dtype), MASKS["causal"]
    values = loss(student, teacher, mask, heads)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(student.float(), teacher.float(), mask, heads), rtol=0, atol=0)


@each_loss
@pytest.mark.parametrize("heads", ["each", "sum"])
def test_extreme_scores_stay_finite(loss, naive, heads):
    student = (1000 * random_scores()).requires_grad_()
    values = loss(student, 1000 * random_scores(seed=1), MASKS["causal"], heads)
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(student.grad).all()


@each_loss
def test_what_cannot_be_compared_is_refused(loss, naive):
    mask = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    with pytest.raises(InputError, match="4 and 6 heads.*sum"):
        loss(random_scores(), random_scores(6), mask)
    for other in (random_scores()[:, :, :4], random_scores()[:, :, :, :4], random_scores()[:1]):
        with pytest.raises(InputError, match="one tokenizer"):
            loss(random_scores(), other, mask, "sum")
    with pytest.raises(InputError, match="heads is 'mean'; use each"):
        loss(random_scores(), random_scores(), mask, "mean")
