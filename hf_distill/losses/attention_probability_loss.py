"""The teacher's attention distributions as targets."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.attention_heads import check_attention_maps


def attention_probability_loss(
    student_scores: Tensor, teacher_scores: Tensor, mask: Tensor, heads: str = "each"
) -> Tensor:
    """KL(teacher ‖ student) between the distributions of attention over the keys that count.

    1/H · Σ KL(softmax(b) ‖ softmax(a)) over the H heads (MobileBERT, Sun et al. 2020,
    https://arxiv.org/abs/2004.02984, section 3, attention transfer). With ``heads="sum"`` the probabilities are first
    averaged over the heads, which gives one distribution again, and H is 1.

    Args:
        student_scores: ``(batch, heads, queries, keys)``, before the softmax and before the mask is added.
        teacher_scores: The same, of as many heads unless they are summed; receives no gradient.
        mask: Boolean, broadcastable to ``(batch, 1, queries, keys)``, True where the query may look at the key. All
            other keys are left out of the softmax, so what their scores are does not matter.
        heads: ``each`` compares head by head, ``sum`` the heads' averages.

    Returns:
        ``(batch, queries)`` in nats, 0 for a query without any key; the caller averages over the queries that count.

    Raises:
        InputError: The scores are of different tokens, or of different numbers of heads that are not summed.
    """
    check_attention_maps(student_scores, teacher_scores, heads)
    student = _log_probs(student_scores, mask, heads)
    teacher = _log_probs(teacher_scores.detach(), mask, heads)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1).mean(1)


def _log_probs(scores: Tensor, mask: Tensor, heads: str) -> Tensor:
    # Not minus infinity: a query without any key would get NaN, and so it gets equal distributions of divergence 0.
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    log_probs = F.log_softmax(scores, dim=-1)
    return log_probs if heads == "each" else log_probs.logsumexp(1, keepdim=True) - math.log(scores.shape[1])
