"""Hidden states matched value by value."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.errors import InputError


def mse_hidden_state_loss(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """Squared error between the student's and the teacher's hidden state at each position: 1/N · Σ (h − g)².

    The mean is over the N values of a state. FitNets (Romero et al. 2015, https://arxiv.org/abs/1412.6550, section
    2.2) and, for embeddings and layers of transformers, TinyBERT (Jiao et al. 2020, https://arxiv.org/abs/1909.10351,
    equations 8 and 9). Unlike the cosine it also fixes the lengths.

    Args:
        student_hidden: ``(..., hidden_size)``, already projected where the widths differ.
        teacher_hidden: Same shape; receives no gradient.

    Returns:
        ``(...)``, one value for each position; the caller averages over those that count.

    Raises:
        InputError: The two are not equally wide, or not equally long.
    """
    if student_hidden.shape != teacher_hidden.shape:
        raise InputError(
            f"The student's hidden states are {tuple(student_hidden.shape)} and the teacher's "
            f"{tuple(teacher_hidden.shape)}: a squared error needs equal shapes. Use one tokenizer for both, and a "
            "projection where the widths differ."
        )
    return F.mse_loss(student_hidden.float(), teacher_hidden.detach().float(), reduction="none").mean(-1)
