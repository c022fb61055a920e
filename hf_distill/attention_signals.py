"""What one layer's self-attention computed its scores from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AttentionSignals:
    """The split heads of one self-attention; each part is None unless it was asked for.

    Attributes:
        query: ``(batch, heads, sequence, head_width)``.
        key: ``(batch, key_value_heads, sequence, head_width)``: grouped-query attention has fewer than ``heads``.
        value: As ``key``.
        scaling: What the dot products of queries and keys are multiplied by; ``(batch, 1, 1, 1)`` out of a cache.
        position_bias: ``(1 or batch, heads, sequence, sequence)``, what the model adds to the scaled dot products
            beside its mask; None where it adds nothing, too.
    """

    query: Tensor | None
    key: Tensor | None
    value: Tensor | None
    scaling: float | Tensor
    position_bias: Tensor | None = None

    def to(self, device: torch.device) -> AttentionSignals:
        """The same on another device."""
        parts = (self.query, self.key, self.value, self.position_bias)
        query, key, value, bias = (None if part is None else part.to(device) for part in parts)
        return AttentionSignals(query, key, value, self.scaling, bias)
