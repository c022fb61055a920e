"""The teacher's logits themselves as targets."""

from torch import Tensor
from torch.nn import functional as F


def logit_mse_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Squared error to the teacher's logits: 1/N · Σ (z − v)² over the N classes.

    Ba & Caruana 2014 (https://arxiv.org/abs/1312.6184, section 2.2), there with a sum and 1/2 in place of the mean.
    It has no temperature: dividing the logits by T and multiplying the loss by T² would change nothing. Unlike a
    divergence of distributions it also holds the student to the logits' common level, which a softmax ignores.

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape; receives no gradient.

    Returns:
        ``(...)``, one mean squared error for each distribution; the caller averages over those that count.
    """
    return F.mse_loss(student_logits.float(), teacher_logits.detach().float(), reduction="none").mean(-1)
