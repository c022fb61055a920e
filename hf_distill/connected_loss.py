"""A loss that DDP sees as made from the student's outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Connected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, output: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None]:
        return gradients[0], None


def connected(loss: Tensor, output: Tensor) -> Tensor:
    """The same loss, with an edge but no gradient to an output of the student's forward.

    A loss on what was recorded inside the forward alone, such as attention, does not depend on its outputs, and DDP
    would wait for the gradients of the parameters in between. Over such an edge it learns that they have none, and
    nothing is computed for it.

    Args:
        loss: A scalar.
        output: What the forward returned.
    """
    return _Connected.apply(loss, output)
