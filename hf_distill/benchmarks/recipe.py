"""What all variants of a training have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import TrainingArguments

Arguments = TypeVar("Arguments", bound=TrainingArguments)


@dataclass(frozen=True)
class Recipe:
    """How to train: the same batch, optimiser and objective for every variant.

    Attributes:
        batch_size: Rows in a step of one process.
        output_dir: Where Trainer may write; nothing is saved.
        max_steps: Steps of the optimiser; -1 for ``epochs``.
        epochs: Times through the rows, where ``max_steps`` is -1.
        learning_rate: At the start; it falls to 0 in a straight line.
        max_grad_norm: Gradients are clipped to this.
        temperature: Of the soft targets.
        soft_target_weight: Of the soft targets; the rest of 1 is the weight of the labels.
        bf16: Compute in bfloat16 where autocast does.
        torch_compile: Compile the models.
        use_cpu: Leave accelerators alone.
        seed: Of dropout and of the order of rows.
    """

    batch_size: int
    output_dir: str
    max_steps: int = -1
    epochs: int = 3
    learning_rate: float = 1e-4
    max_grad_norm: float = 1.0
    temperature: float = 2.0
    soft_target_weight: float = 0.5
    bf16: bool = False
    torch_compile: bool = False
    use_cpu: bool = False
    seed: int = 0

    @property
    def hard_target_weight(self) -> float:
        """The weight of the labels' own loss."""
        return 1 - self.soft_target_weight

    def arguments(self, cls: type[Arguments], **own: Any) -> Arguments:
        """As Trainer takes it; ``own`` is what one variant sets beside it."""
        use_cpu = self.use_cpu or not torch.accelerator.is_available()
        common = {
            "output_dir": self.output_dir,
            "per_device_train_batch_size": self.batch_size,
            "max_steps": self.max_steps,
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "max_grad_norm": self.max_grad_norm,
            "bf16": self.bf16,
            "torch_compile": self.torch_compile,
            "use_cpu": use_cpu,
            "seed": self.seed,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": not use_cpu,
        }
        return cls(**{**common, **own})
