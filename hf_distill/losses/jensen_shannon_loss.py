"""Soft targets between the forward and the reverse divergence."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_distill.errors import InputError
from hf_distill.losses.softened import softened_log_probs


def jensen_shannon_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float, beta: float) -> Tensor:
    """The generalised Jensen–Shannon divergence of temperature-softened distributions, times T².

    T² · (β · KL(p ‖ m) + (1 − β) · KL(q ‖ m)), with p the teacher's and q the student's probabilities and
    m = β · p + (1 − β) · q (Agarwal et al. 2024, https://arxiv.org/abs/2306.13649, section 2). Without the T² it is
    never above log 2, however far apart the two are. It vanishes with β and with 1 − β; divided by β it tends to
    KL(p ‖ q) as β → 0, and divided by 1 − β to KL(q ‖ p) as β → 1. So a β near 0 learns as from the forward and a β
    near 1 as from the reverse divergence, with a weight that makes up for the size.

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.
        beta: The teacher's share of the mixture, between 0 and 1, both excluded; 0.5 treats the two alike.

    Returns:
        ``(...)``, one divergence in nats for each distribution; the caller averages over those that count.

    Raises:
        InputError: ``beta`` is out of range.
    """
    if not 0 < beta < 1:
        raise InputError(
            f"beta is {beta}, at which the Jensen-Shannon divergence is 0 or undefined: use a number between 0 and 1, "
            "or the forward or reverse KL divergence."
        )
    student, teacher = softened_log_probs(student_logits, teacher_logits, temperature)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    from_teacher = F.kl_div(mixture, teacher, reduction="none", log_target=True).sum(-1)
    from_student = F.kl_div(mixture, student, reduction="none", log_target=True).sum(-1)
    return (beta * from_teacher + (1 - beta) * from_student) * temperature**2
