"""Soft targets for classes that exclude one another: softmax over the last dimension."""

from torch import Tensor
from torch.nn import functional as F


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
    student_log_probs = F.log_softmax(student_logits.float() / temperature, dim=-1)
    teacher_log_probs = F.log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
    divergence = F.kl_div(student_log_probs, teacher_log_probs, reduction="none", log_target=True).sum(-1)
    return divergence * temperature**2
