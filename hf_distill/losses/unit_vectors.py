"""Directions without lengths."""

import torch
from torch import Tensor


def unit_vectors(vectors: Tensor) -> Tensor:
    """Each vector divided by its Euclidean length; a vector of zeros stays one and gets no gradient.

    ``torch.nn.functional.normalize`` divides a vector of zeros by 1e-12, which multiplies its gradient by 1e12.

    Args:
        vectors: ``(..., width)``.
    """
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(lengths > 0, vectors / torch.where(lengths > 0, lengths, 1), 0)
