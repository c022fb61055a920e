"""The angles that the teacher sees between the items of a batch as target."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.unit_vectors import unit_vectors


def angle_relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between the cosines of the angles that all triplets of items form.

    1/M · Σ huber(cos∠sᵢsⱼsₖ − cos∠tᵢtⱼtₖ) over the M = n · (n − 1) · (n − 2) ordered triplets of different items, with
    cos∠xᵢxⱼxₖ the cosine between xᵢ − xⱼ and xₖ − xⱼ, and huber(x) = x²/2 up to 1 and |x| − 1/2 beyond (RKD, Park et
    al. 2019, https://arxiv.org/abs/1904.05068, section 3.2.2). Scale, rotation and width are free. The authors' code
    also counts triplets in which an item occurs twice, nearly all of which are 0 for both.

    A triplet in which the vertex equals another item has no angle: its cosine is 0, without a gradient. Memory is n² ·
    width values for the differences and n³ for the angles, several times over for the gradient: at n = 64 and width
    768, 13 and 1 MB each.

    Args:
        student: ``(items, width)``, only of items that count.
        teacher: ``(items, width)`` of its own width; receives no gradient.

    Returns:
        A scalar; 0, with a gradient of 0, for fewer than three items.
    """
    count = len(student)
    losses = F.smooth_l1_loss(_cosines(student), _cosines(teacher.detach()), reduction="none")
    # Where the vertex is one of the two others, both cosines are 0 already.
    same = torch.eye(count, dtype=torch.bool, device=student.device)
    return losses.masked_fill(same, 0).sum() / max(count * (count - 1) * (count - 2), 1)


def _cosines(items: Tensor) -> Tensor:
    """``(vertices, items, items)``."""
    items = items.float()
    directions = unit_vectors(items[None, :, :] - items[:, None, :])
    return directions @ directions.transpose(-1, -2)
