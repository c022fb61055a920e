"""Soft targets for classes that exclude one another: softmax over the last dimension."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.softened import softened_log_probs


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) between temperature-softened distributions, times T².

    The T² keeps the gradient's size comparable across temperatures
    (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2).

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.

    Returns:
        ``(...)``, one divergence in nats for each distribution; the caller averages over those that count.
    """
    student_log_probs, teacher_log_probs = softened_log_probs(student_logits, teacher_logits, temperature)
    divergence = F.kl_div(student_log_probs, teacher_log_probs, reduction="none", log_target=True).sum(-1)
    return divergence * temperature**2
