"""Soft targets the other way round: the student is held to what the teacher finds likely."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.softened import softened_log_probs


def reverse_soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(student ‖ teacher) between temperature-softened distributions, times T².

    T² · Σ q · log(q / p) over the classes, with q the student's and p the teacher's probabilities. It seeks modes:
    a student too small for all that the teacher finds likely leaves some of it out, where the forward divergence
    spreads over everything (Agarwal et al. 2024, https://arxiv.org/abs/2306.13649, section 2).

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.

    Returns:
        ``(...)``, one divergence in nats for each distribution; the caller averages over those that count.
    """
    student_log_probs, teacher_log_probs = softened_log_probs(student_logits, teacher_logits, temperature)
    divergence = F.kl_div(teacher_log_probs, student_log_probs, reduction="none", log_target=True).sum(-1)
    return divergence * temperature**2
