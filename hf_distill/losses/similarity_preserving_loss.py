"""Which items of a batch the teacher finds alike as target."""

from torch import Tensor

from hf_distill.losses.unit_vectors import unit_vectors


def similarity_preserving_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error between the two models' similarities of items: 1/n² · ‖G − G′‖² over the n items.

    G is S · Sᵀ with each row scaled to length 1, S the student's items, and G′ the same of the teacher's (SPKD, Tung &
    Mori 2019, https://arxiv.org/abs/1907.09682, section 3). Scale, rotation and width are free. An item of zeros is
    like no other, and gets no gradient from its own row.

    Args:
        student: ``(items, width)``, only of items that count.
        teacher: ``(items, width)`` of its own width; receives no gradient.

    Returns:
        A scalar; 0 for fewer than two items, one item being like itself in both models.
    """
    difference = _similarities(student) - _similarities(teacher.detach())
    return difference.pow(2).sum() / max(len(student), 1) ** 2


def _similarities(items: Tensor) -> Tensor:
    items = items.float()
    return unit_vectors(items @ items.T)
