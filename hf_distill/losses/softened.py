"""Both models' answers at a temperature."""

from torch import Tensor
from torch.nn import functional as F


def softened_log_probs(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of student and teacher at a temperature, in float32, the teacher's without a gradient.

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape.
        temperature: Softening, greater than 0.
    """
    student = F.log_softmax(student_logits.float() / temperature, dim=-1)
    return student, F.log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
