"""How much each neuron, head or feature of a model matters.

With a calibration batch, by gradient: the gate of a unit multiplies all that the unit hands on, and the gradient of
the loss at an open gate says, to first order, how much the loss changes when the unit is left out (heads: Michel et
al. 2019, https://arxiv.org/abs/1905.10650; neurons: Molchanov et al. 2019, https://arxiv.org/abs/1906.10771, and
DynaBERT, https://arxiv.org/abs/2004.04037). Without one, by the size of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.calibration import calibration_slices
from hf_distill.students.weight_axes import UnitGroup


def importance_by_gradient(
    model: PreTrainedModel, groups: Sequence[UnitGroup], calibration: Mapping[str, Tensor]
) -> list[Tensor]:
    """Mean over the rows of |d loss / d gate|, for each unit.

    Args:
        model: Gives a loss for ``calibration``; its weights and their gradients stay as they are.
        groups: The units.
        calibration: A batch as the model's forward takes it, with labels.

    Returns:
        For each group ``(total,)``.

    Raises:
        InputError: The model gives no loss.
    """
    sums = [torch.zeros(group.total) for group in groups]
    for batch in calibration_slices(model, calibration):
        with _gated(model, groups) as gates, torch.enable_grad():
            loss = model(**batch).get("loss")
            if loss is None:
                raise InputError(
                    f"the calibration batch gives {type(model).__name__} no loss to measure importance by; add its "
                    "labels, or leave calibration out to choose by the size of the weights"
                )
            gradients = torch.autograd.grad(loss, [gates[group.reader] for group in groups])
        for total, group, gradient in zip(sums, groups, gradients, strict=True):
            rows = len(gradient)  # the loss is a mean over them
            per_unit = gradient.reshape(rows, group.total, -1).sum(-1)
            total += rows * per_unit.abs().sum(0).float().cpu()
    return [total / len(next(iter(calibration.values()))) for total in sums]


@contextmanager
def _gated(model: PreTrainedModel, groups: Sequence[UnitGroup]) -> Iterator[dict[str, Tensor]]:
    """Multiplies the inputs of every reader by gates: ones, a row of them for each row of the batch."""
    gates: dict[str, Tensor] = {}

    def gate(reader: str) -> Callable[..., tuple[Tensor, ...]]:
        def multiply(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            units = inputs[0]
            middle = [1] * (units.dim() - 2)
            gates[reader] = units.new_ones(len(units), *middle, units.shape[-1]).requires_grad_()
            return (units * gates[reader], *inputs[1:])

        return multiply

    handles = [model.get_submodule(group.reader).register_forward_pre_hook(gate(group.reader)) for group in groups]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def importance_by_weights(model: PreTrainedModel, groups: Sequence[UnitGroup]) -> list[Tensor]:
    """For each unit the norm of the weights that lead out of it times the norm of those that lead into it.

    Args:
        model: Holds the weights.
        groups: The units.

    Returns:
        For each group ``(total,)``.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    importances = []
    for group in groups:
        into, out_of = torch.zeros(group.total), torch.zeros(group.total)
        for name, axis in group.axes:
            side = into if axis == 0 else out_of
            side += weights[name].detach().float().cpu().movedim(axis, 0).reshape(group.total, -1).square().sum(1)
        importances.append((into * out_of).sqrt())
    return importances
