"""Soft targets for labels that are each on or off: a sigmoid for each."""

from torch import Tensor
from torch.nn import functional as F


def binary_soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) between the two tempered Bernoulli distributions of each label, times T².

    The multi-label form of Hinton et al. 2015 (https://arxiv.org/abs/1503.02531).

    Args:
        student_logits: ``(..., num_labels)``.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.

    Returns:
        ``(..., num_labels)``, one divergence in nats for each label of each example.
    """
    student = student_logits.float() / temperature
    teacher = teacher_logits.detach().float() / temperature
    on = F.kl_div(F.logsigmoid(student), F.logsigmoid(teacher), reduction="none", log_target=True)
    off = F.kl_div(F.logsigmoid(-student), F.logsigmoid(-teacher), reduction="none", log_target=True)
    return (on + off) * temperature**2
