"""Hidden states matched as points on the unit sphere."""

from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.unit_vectors import unit_vectors


def normalised_hidden_state_loss(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """Squared distance between the two hidden states scaled to length 1: ‖h/‖h‖ − g/‖g‖‖².

    Patient knowledge distillation (Sun et al. 2019, https://arxiv.org/abs/1908.09355, section 3.2), there for the
    first token, whose selection is the caller's. It is 2 · (1 − cosine), except that a state of zeros, which stays at
    zero without a gradient, is at a distance of 1 from all others and of 0 from another one of zeros.

    Args:
        student_hidden: ``(..., hidden_size)``, already projected where the widths differ.
        teacher_hidden: Same shape; receives no gradient.

    Returns:
        ``(...)``, between 0 and 4, one value for each state; the caller averages over those that count.

    Raises:
        InputError: The two are not equally wide, or not equally many.
    """
    if student_hidden.shape != teacher_hidden.shape:
        raise InputError(
            f"The student's hidden states are {tuple(student_hidden.shape)} and the teacher's "
            f"{tuple(teacher_hidden.shape)}: a distance needs equal shapes. Use a projection where the widths differ."
        )
    difference = unit_vectors(student_hidden.float()) - unit_vectors(teacher_hidden.detach().float())
    return difference.pow(2).sum(-1)
