"""How far two series rise and fall together."""

import torch
from torch import Tensor

from hf_distill.losses.unit_vectors import unit_vectors

ROUNDING = 1e-6
"""A spread below this share of a series' length is taken for rounding errors of single precision."""


def pearson_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation along the last dimension: the cosine between the two less their means.

    Args:
        first: ``(..., values)``, single precision.
        second: Same shape.

    Returns:
        ``(...)``, between -1 and 1. It is 0, without a gradient, where one of the two is constant: a correlation does
        not exist there.
    """
    return (_centred_directions(first) * _centred_directions(second)).sum(-1)


def _centred_directions(values: Tensor) -> Tensor:
    centred = values - values.mean(-1, keepdim=True)
    spread = torch.linalg.vector_norm(centred.detach(), dim=-1, keepdim=True)
    length = torch.linalg.vector_norm(values.detach(), dim=-1, keepdim=True)
    return unit_vectors(torch.where(spread > ROUNDING * length, centred, 0))
