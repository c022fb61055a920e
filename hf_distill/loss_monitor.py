"""Watches the terms of the loss during training without waiting for the device."""

from __future__ import annotations

from collections import Counter

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn

_SHARDING = (DistributedType.FSDP, DistributedType.DEEPSPEED)


class LossMonitor:
    """Adds up named terms on the device, and remembers the first step at which one was not finite.

    Nothing is read back until :meth:`averages` or :meth:`raise_if_not_finite`, which the trainer calls when it
    logs and before it saves.

    Args:
        names: The terms, in the order in which they are given to :meth:`add`.
        device: Where they are computed.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self.names = names
        self._sums = torch.zeros(len(names), device=device)
        self._step_terms = torch.zeros(len(names), device=device)
        self._bad_step = torch.zeros((), device=device)
        self._bad_terms = torch.zeros(len(names), device=device)
        self._steps = Counter[str]()

    def start_step(self, names: tuple[str, ...]) -> None:
        """Count an optimiser step; its micro-batches follow through :meth:`add`.

        Args:
            names: The terms that take part in it.
        """
        self._steps.update(names)
        self._step_terms = torch.zeros_like(self._step_terms)

    def add(self, terms: dict[str, Tensor], step: int) -> None:
        """Add one micro-batch's share of the step's terms.

        Args:
            terms: Scalars by name.
            step: The optimiser step, counted from 1.
        """
        nothing = torch.zeros_like(self._bad_step)
        values = torch.stack([terms[name].detach().float() if name in terms else nothing for name in self.names])
        self._step_terms += values
        first_bad = ~torch.isfinite(self._step_terms).all() & ((self._bad_step == 0) | (self._bad_step == step))
        self._bad_step = torch.where(first_bad, step, self._bad_step)
        self._bad_terms = torch.where(first_bad, self._step_terms, self._bad_terms)
        self._sums += values

    def averages(self, accelerator: Accelerator) -> dict[str, float]:
        """The mean of each term over its steps since the last call and over the processes; starts anew."""
        if not self._steps:
            return {}
        sums = accelerator.reduce(self._sums, reduction="mean").tolist()
        means = {
            name: value / self._steps[name] for name, value in zip(self.names, sums, strict=True) if self._steps[name]
        }
        self._sums = torch.zeros_like(self._sums)
        self._steps.clear()
        return means

    def raise_if_not_finite(self, accelerator: Accelerator) -> None:
        """Stop all processes if a term was NaN or infinite on any.

        Raises:
            FloatingPointError: Names the first such step and what each term was there.
        """
        seen = accelerator.gather(torch.cat([self._bad_step[None], self._bad_terms])[None]).tolist()
        bad = [row for row in seen if row[0] > 0]
        if not bad:
            return
        step, *values = min(bad)
        terms = ", ".join(f"{name}={value:g}" for name, value in zip(self.names, values, strict=True))
        raise FloatingPointError(
            f"The loss was not finite at step {step:.0f} ({terms}), so the weights are lost and nothing more is "
            "saved. Resume from an earlier checkpoint with a lower learning rate, bf16 instead of fp16, or cleaner "
            "rows."
        )


def raise_if_weights_not_finite(model: nn.Module, step: int, accelerator: Accelerator | None = None) -> None:
    """Refuse to go on with weights that hold a NaN or an infinity, whatever the loss said before.

    Args:
        model: Its weights are the same on all processes, or sharded over them.
        step: The optimiser step, for the message.
        accelerator: Needed where the weights are sharded: then all processes ask, and all of them stop.

    Raises:
        FloatingPointError: Names the first such weight of this process.
    """
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.is_floating_point()]
    device = weights[0][1].device
    finite = torch.stack([torch.isfinite(_local(weight)).all().to(device) for _, weight in weights])
    lost = (~finite).any().long()
    if accelerator is not None and accelerator.distributed_type in _SHARDING:
        lost = accelerator.reduce(lost.to(accelerator.device), reduction="sum")
    if lost:
        names = [name for (name, _), is_finite in zip(weights, finite.tolist(), strict=True) if not is_finite]
        which = names[0] if names else "of another process"
        raise FloatingPointError(
            f"The weight {which} is not finite after step {step}, so nothing is saved: a gradient overflowed. "
            "Resume from an earlier checkpoint with a lower learning rate, or bf16 instead of fp16."
        )


def _local(weight: Tensor) -> Tensor:
    """This process's part of a weight that FSDP2 or ZeRO-3 sharded; an unsharded one as it is."""
    return weight.to_local() if hasattr(weight, "to_local") else getattr(weight, "ds_tensor", weight)
