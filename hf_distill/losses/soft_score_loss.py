"""Soft targets for regression: the teacher's score stands in for the label."""

from torch import Tensor
from torch.nn import functional as F


def soft_score_loss(student_scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Squared error to the teacher's score (Ba & Caruana 2014, https://arxiv.org/abs/1312.6184, section 2.2).

    Args:
        student_scores: ``(...)``, any shape.
        teacher_scores: Same shape; receives no gradient.

    Returns:
        ``(...)``, one squared error for each score. No temperature: a score has no distribution to soften.
    """
    return F.mse_loss(student_scores.float(), teacher_scores.detach().float(), reduction="none")
