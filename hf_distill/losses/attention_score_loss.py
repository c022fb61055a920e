"""The teacher's attention scores as targets."""

import torch
from torch import Tensor

from hf_distill.losses.attention_heads import check_attention_maps


def attention_score_loss(student_scores: Tensor, teacher_scores: Tensor, mask: Tensor, heads: str = "each") -> Tensor:
    """Squared error between attention scores before the softmax, over the keys that count.

    1/(H · K) · Σ (a − b)² over the H heads and the K keys that the query may look at (TinyBERT, Jiao et al. 2020,
    https://arxiv.org/abs/1909.10351, equation 7). With ``heads="sum"`` the scores are first summed over the heads, as
    TextBrewer (Yang et al. 2020, https://arxiv.org/abs/2002.12620) can, and H is 1.

    Args:
        student_scores: ``(batch, heads, queries, keys)``, before the mask is added.
        teacher_scores: The same, of as many heads unless they are summed; receives no gradient.
        mask: Boolean, broadcastable to ``(batch, 1, queries, keys)``, True where the query may look at the key. What
            the scores are elsewhere does not matter, not even infinity.
        heads: ``each`` compares head by head, ``sum`` the sums over the heads.

    Returns:
        ``(batch, queries)``, 0 for a query without any key; the caller averages over the queries that count.

    Raises:
        InputError: The scores are of different tokens, or of different numbers of heads that are not summed.
    """
    check_attention_maps(student_scores, teacher_scores, heads)
    mask = mask.expand(student_scores.shape[0], 1, *student_scores.shape[-2:])
    # Masked before the difference: infinity less infinity would be NaN, and so would its gradient.
    student = torch.where(mask, student_scores.float(), 0)
    teacher = torch.where(mask, teacher_scores.detach().float(), 0)
    if heads == "sum":
        student, teacher = student.sum(1, keepdim=True), teacher.sum(1, keepdim=True)
    errors = (student - teacher).pow(2).sum(-1) / mask.sum(-1).clamp(min=1)
    return errors.mean(1)
