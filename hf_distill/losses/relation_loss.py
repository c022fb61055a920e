"""The teacher's relations among queries, keys and values as targets."""

import math

from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.attention_probability_loss import attention_probability_loss


def relation_loss(
    student_first: Tensor,
    student_second: Tensor,
    teacher_first: Tensor,
    teacher_second: Tensor,
    relation_heads: int,
    mask: Tensor,
) -> Tensor:
    """KL(teacher ‖ student) between the relations of positions, averaged over the relation heads.

    A relation is softmax(A · Bᵀ / √d), with A and B two of a layer's queries, keys and values: their heads are put
    side by side and cut anew into ``relation_heads`` heads of width d. So neither the widths nor the numbers of heads
    of the two models need to agree. With A the queries and B the keys, or both the values, it is MiniLM's (Wang et al.
    2020, https://arxiv.org/abs/2002.10957, sections 3.1 and 3.2, there with the models' own heads); with A and B the
    same, MiniLMv2's (Wang et al. 2021, https://arxiv.org/abs/2012.15828, section 3.1).

    Where A and B have different numbers of heads, as under grouped-query attention, each head of the fewer is
    repeated for its group, as the attention itself does.

    Args:
        student_first: A, ``(batch, heads, queries, head_width)``.
        student_second: B, ``(batch, heads, keys, head_width)``.
        teacher_first: The teacher's A; receives no gradient.
        teacher_second: The teacher's B; receives no gradient.
        relation_heads: Into how many heads both models are cut.
        mask: Boolean, broadcastable to ``(batch, 1, queries, keys)``, True where the position of A may look at that of
            B. All others are left out of the softmax.

    Returns:
        ``(batch, queries)`` in nats, 0 for one that may look at none; the caller averages over those that count.

    Raises:
        InputError: The models are of different tokens, or their widths cannot be cut so.
    """
    student_first, student_second = _with_equal_heads(student_first, student_second)
    teacher_first, teacher_second = _with_equal_heads(teacher_first, teacher_second)
    widths = [first.shape[1] * first.shape[3] for first in (student_first, teacher_first)]
    if relation_heads < 1 or any(width % relation_heads for width in widths):
        common = math.gcd(*widths)
        possible = ", ".join(str(heads) for heads in range(1, common + 1) if common % heads == 0)
        raise InputError(
            f"relation_heads is {relation_heads}, and the student's {widths[0]} and the teacher's {widths[1]} values "
            f"at each position cannot both be cut into as many equal heads: use one of {possible}."
        )
    student = _relations(student_first, student_second, relation_heads)
    teacher = _relations(teacher_first, teacher_second, relation_heads)
    return attention_probability_loss(student, teacher, mask)


def _with_equal_heads(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many heads as the one that has more."""
    heads = max(first.shape[1], second.shape[1])
    if heads % first.shape[1] or heads % second.shape[1] or first.shape[3] != second.shape[3]:
        raise InputError(
            f"A relation is between {first.shape[1]} heads of width {first.shape[3]} and {second.shape[1]} heads of "
            f"width {second.shape[3]}, which cannot be paired: relate queries, keys or values with themselves."
        )
    return _repeated(first, heads), _repeated(second, heads)


def _repeated(vectors: Tensor, heads: int) -> Tensor:
    return vectors if vectors.shape[1] == heads else vectors.repeat_interleave(heads // vectors.shape[1], dim=1)


def _relations(first: Tensor, second: Tensor, relation_heads: int) -> Tensor:
    """``(batch, relation_heads, queries, keys)``, before the softmax."""
    first, second = _cut(first, relation_heads), _cut(second, relation_heads)
    return first @ second.transpose(-1, -2) / math.sqrt(first.shape[-1])


def _cut(vectors: Tensor, heads: int) -> Tensor:
    """The heads side by side, and cut anew."""
    return vectors.float().transpose(1, 2).flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
