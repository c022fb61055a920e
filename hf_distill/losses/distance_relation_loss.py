"""How far apart the teacher holds the items of a batch as target."""

import torch
from torch import Tensor
from torch.nn import functional as F


def distance_relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between the distances of all pairs of items, in units of their mean.

    1/P · Σ huber(‖sᵢ − sⱼ‖ / μ − ‖tᵢ − tⱼ‖ / μ′) over the P pairs i ≠ j, with μ and μ′ each model's mean distance, and
    huber(x) = x²/2 up to 1 and |x| − 1/2 beyond (RKD, Park et al. 2019, https://arxiv.org/abs/1904.05068, section
    3.2.1). Scale, rotation and width are free.

    Equal items are at distance 0 and get no gradient from their pair. Items that are all equal have no unit: their
    distances are 0.

    Args:
        student: ``(items, width)``, only of items that count.
        teacher: ``(items, width)`` of its own width; receives no gradient.

    Returns:
        A scalar; 0, with a gradient of 0, for fewer than two items.
    """
    student, teacher = _relative_distances(student), _relative_distances(teacher.detach())
    return F.smooth_l1_loss(student, teacher, reduction="sum") / _ordered_pairs(len(student))


def _relative_distances(items: Tensor) -> Tensor:
    """``(items, items)``, with an average of 1 outside the diagonal."""
    items = items.float()
    # From the differences: from the products, the distances of close items would be rounding errors.
    distances = torch.cdist(items, items, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / _ordered_pairs(len(items))
    return distances / torch.where(mean > 0, mean, 1)


def _ordered_pairs(items: int) -> int:
    return max(items * (items - 1), 1)
