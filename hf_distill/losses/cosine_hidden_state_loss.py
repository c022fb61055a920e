"""Alignment of the directions of hidden states."""

from torch import Tensor
from torch.nn import functional as F


def cosine_hidden_state_loss(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """One minus the cosine between the student's and the teacher's hidden state at each position.

    The third term of DistilBERT's objective (Sanh et al. 2019, https://arxiv.org/abs/1910.01108, section 3): it
    aligns the directions of the hidden states and leaves their lengths free.

    Args:
        student_hidden: ``(..., hidden_size)``.
        teacher_hidden: Same shape; receives no gradient.

    Returns:
        ``(...)``, between 0 and 2, one value for each position.
    """
    return 1 - F.cosine_similarity(student_hidden.float(), teacher_hidden.detach().float(), dim=-1)
