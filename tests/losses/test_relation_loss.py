import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from hf_distill.errors import InputError
from hf_distill.losses import attention_probability_loss, relation_loss

ATTENDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
MASKS = {"keys": ATTENDED[:, None, None, :], "causal": ATTENDED[:, None, None, :] & CAUSAL}


def heads_of(number, width, seed=0, sequence=5):
    return torch.randn(2, number, sequence, width, generator=torch.Generator().manual_seed(seed))


def positions_of(heads, row):
    """``(sequence, heads · head_width)``, position by position."""
    array = heads[row].double().numpy()
    return np.array([np.concatenate([head[i] for head in array]) for i in range(array.shape[1])])


def naive_relation(first, second, query, keys, head, relation_heads):
    """The distribution over ``keys`` of one query in one relation head, from whole vectors by position."""
    width = first.shape[1] // relation_heads
    part = slice(head * width, (head + 1) * width)
    return softmax([first[query, part] @ second[key, part] / math.sqrt(width) for key in keys])


def naive_loss(student, teacher, relation_heads, mask):
    values = np.zeros((2, student[0].shape[2]))
    for row, query in np.ndindex(*values.shape):
        keys = mask.expand(2, 1, values.shape[1], -1)[row, 0, query].nonzero().flatten().tolist()
        for head in range(relation_heads):
            q, p = (
                naive_relation(*(positions_of(part, row) for part in pair), query, keys, head, relation_heads)
                for pair in (student, teacher)
            )
            values[row, query] += rel_entr(p, q).sum() / relation_heads
    return values


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("relation_heads", [1, 2, 4, 6, 12])
def test_heads_are_put_side_by_side_and_cut_anew(mask, relation_heads):
    student = heads_of(3, 4), heads_of(3, 4, seed=1)
    teacher = heads_of(4, 6, seed=2), heads_of(4, 6, seed=3)
    values = relation_loss(*student, *teacher, relation_heads, mask)
    assert values.shape == (2, 5)
    np.testing.assert_allclose(
        values.numpy(), naive_loss(student, teacher, relation_heads, mask), rtol=1e-4, atol=1e-6
    )


def test_grouped_heads_are_repeated_as_attention_does():
    student = heads_of(4, 3), heads_of(2, 3, seed=1)
    teacher = heads_of(6, 2, seed=2), heads_of(1, 2, seed=3)
    whole_student = student[0], student[1][:, [0, 0, 1, 1]]
    whole_teacher = teacher[0], teacher[1][:, [0] * 6]
    values = relation_loss(*student, *teacher, 4, MASKS["keys"])
    expected = naive_loss(whole_student, whole_teacher, 4, MASKS["keys"])
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4, atol=1e-6)
    exchanged = relation_loss(*student[::-1], *teacher[::-1], 4, MASKS["keys"])
    expected = naive_loss(whole_student[::-1], whole_teacher[::-1], 4, MASKS["keys"])
    np.testing.assert_allclose(exchanged.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_keys_and_values_of_grouped_heads_are_related_as_they_are():
    student, teacher = heads_of(2, 3), heads_of(3, 4, seed=1)
    values = relation_loss(student, student, teacher, teacher, 6, MASKS["causal"])
    expected = naive_loss((student, student), (teacher, teacher), 6, MASKS["causal"])
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_models_own_heads_give_the_divergence_of_their_attention():
    student, teacher = (heads_of(3, 4), heads_of(3, 4, seed=1)), (heads_of(3, 8, seed=2), heads_of(3, 8, seed=3))
    scores = [first @ second.transpose(2, 3) / first.shape[3] ** 0.5 for first, second in (student, teacher)]
    values = relation_loss(*student, *teacher, 3, MASKS["causal"])
    torch.testing.assert_close(values, attention_probability_loss(*scores, MASKS["causal"]))


def test_queries_and_keys_may_be_of_two_sequences():
    student = heads_of(3, 4, sequence=2), heads_of(3, 4, seed=1)
    teacher = heads_of(4, 6, seed=2, sequence=2), heads_of(4, 6, seed=3)
    values = relation_loss(*student, *teacher, 2, MASKS["keys"])
    np.testing.assert_allclose(values.numpy(), naive_loss(student, teacher, 2, MASKS["keys"]), rtol=1e-4, atol=1e-6)


def test_zero_at_equality_and_under_the_rotation_of_a_relation_head():
    first, second = heads_of(2, 6).requires_grad_(), heads_of(2, 6, seed=1)
    values = relation_loss(first, second, first, second, 4, MASKS["keys"])
    values.sum().backward()
    assert values.abs().max() < 1e-6 and first.grad.abs().max() < 1e-6
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5)))[0]
    values = relation_loss(first @ rotation, second @ rotation, first, second, 2, MASKS["keys"])
    assert values.abs().max() < 1e-5


def test_padding_changes_nothing():
    found = []
    for content in (0.0, 1e4):
        padding = ~ATTENDED[:, None, :, None]
        student, teacher = (
            heads_of(number, 6, seed=seed).masked_fill(padding, sign * content)
            for number, seed, sign in ((2, 0, 1), (3, 1, -1))
        )
        student.requires_grad_()
        values = relation_loss(student, student, teacher, teacher, 6, MASKS["keys"])
        torch.where(ATTENDED, values, 0).sum().backward()
        found.append((values[ATTENDED].detach(), student.grad))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    assert found[1][1][1, :, 3:].abs().max() == 0


def test_a_position_that_may_look_at_none_has_no_loss_and_no_gradient():
    student, teacher = heads_of(2, 6).requires_grad_(), heads_of(3, 6, seed=1)
    values = relation_loss(student, student, teacher, teacher, 6, torch.zeros(1, 1, 1, 5, dtype=torch.bool))
    values.sum().backward()
    assert values.abs().max() == 0 and student.grad.abs().max() == 0


def test_the_gradient_reaches_only_the_student():
    parts = [heads_of(2, 6, seed=seed).requires_grad_() for seed in range(4)]
    relation_loss(*parts, 4, MASKS["keys"]).sum().backward()
    assert all(part.grad.abs().sum() > 0 for part in parts[:2])
    assert all(part.grad is None for part in parts[2:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_single_precision(dtype):
    parts = [20 * heads_of(2, 6, seed=seed).to(dtype) for seed in range(4)]
    values = relation_loss(*parts, 4, MASKS["keys"])
    assert values.dtype == torch.float32
    in_single = relation_loss(*(part.float() for part in parts), 4, MASKS["keys"])
    torch.testing.assert_close(values, in_single, rtol=0, atol=0)


@pytest.mark.parametrize("relation_heads", [0, -1, 5, 8, 24])
def test_numbers_of_relation_heads_that_do_not_divide_both_are_refused(relation_heads):
    student, teacher = heads_of(3, 4), heads_of(4, 6)
    with pytest.raises(InputError, match=f"relation_heads is {relation_heads},.* 12 .* 24 .*one of 1, 2, 3, 4, 6, 12"):
        relation_loss(student, student, teacher, teacher, relation_heads, MASKS["keys"])


def test_heads_that_cannot_be_paired_are_refused():
    teacher = heads_of(4, 6)
    for second in (heads_of(2, 4), heads_of(3, 8)):
        with pytest.raises(InputError, match="cannot be paired"):
            relation_loss(heads_of(3, 4), second, teacher, teacher, 2, MASKS["keys"])


def test_other_tokens_are_refused():
    student, teacher = heads_of(3, 4), heads_of(4, 6, sequence=4)
    with pytest.raises(InputError, match="one tokenizer"):
        relation_loss(student, student, teacher, teacher, 2, MASKS["keys"])
