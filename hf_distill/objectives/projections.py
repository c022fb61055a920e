"""Linear maps from a student's hidden states to its teacher's width, trained beside the student."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

from hf_distill.errors import InputError, one_line

PROJECTIONS_NAME = "projections.safetensors"


class Projections(TrainerCallback):
    """The maps, and the parts of training that stop at the student's own parameters.

    They are no part of the student, so DDP does not average their gradients, Trainer does not clip or clear them, and
    nothing saves them with the model: this callback does the first three at every optimiser step, and a file of a
    checkpoint's own holds their weights.

    Args:
        widths: By name, from and to which width.
        accelerator: Of the training.
        seed: Draws their first weights, the same on all processes.
        max_grad_norm: To which their gradients together are clipped; 0 for not at all.
    """

    def __init__(
        self, widths: Mapping[str, tuple[int, int]], accelerator: Accelerator, seed: int, max_grad_norm: float
    ) -> None:
        self._accelerator = accelerator
        self._max_grad_norm = max_grad_norm
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            maps = {name: nn.Linear(*widths[name]) for name in sorted(widths)}
        self.modules = nn.ModuleDict(maps).to(accelerator.device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """For the optimiser."""
        return list(self.modules.parameters())

    def on_pre_optimizer_step(self, *args: object, **kwargs: object) -> None:
        """Average the gradients over the processes, and clip them."""
        for parameter in self.parameters:
            # A stage may leave some out, on one process or on several.
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self._accelerator.reduce(gradient, reduction="mean")
        if self._max_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.parameters, self._max_grad_norm)

    def on_optimizer_step(self, *args: object, **kwargs: object) -> None:
        """Clear the gradients."""
        self.modules.zero_grad()

    def save(self, folder: Path) -> None:
        """Write them into a checkpoint."""
        save_file(self.modules.state_dict(), folder / PROJECTIONS_NAME)

    def load(self, folder: Path) -> None:
        """Read them from a checkpoint.

        Raises:
            InputError: It holds none, or others.
        """
        path = folder / PROJECTIONS_NAME
        if not path.is_file():
            raise InputError(
                f"{str(folder)!r} holds no {PROJECTIONS_NAME}, and this objective projects hidden states: it was "
                "written with another objective. Resume with that one, or start anew."
            )
        try:
            self.modules.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise InputError(
                f"{str(path)!r} holds other projections than this objective has ({one_line(error)}): it was written "
                "with another layer_mapping or other models. Resume with those, or start anew."
            ) from error


def check_can_project(accelerator: Accelerator, widths: Mapping[str, tuple[int, int]]) -> None:
    """Check that parameters that are not the model's can be trained beside it.

    Raises:
        InputError: The model is sharded, and its optimiser with it; or several processes would scale fp16 gradients,
            each by itself.
    """
    if accelerator.mixed_precision == "fp16" and accelerator.num_processes > 1:
        raise InputError(
            f"Projections ({', '.join(widths)}) are trained beside the student, with fp16 on several processes, which "
            "would not agree on the steps to skip: use bf16."
        )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        narrow, wide = next(iter(widths.values()))
        raise InputError(
            f"The student's hidden states are {narrow} wide and the teacher's {wide}, so projections are trained "
            f"beside the student, and under {accelerator.distributed_type.value} the optimiser holds the student's "
            "own parameters alone: train with DDP, or compare relations, which need no projection."
        )
