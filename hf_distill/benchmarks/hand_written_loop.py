"""The floor: distillation as one would write it by hand, with nothing but what it takes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import TrainingArguments, get_linear_schedule_with_warmup, set_seed

from hf_distill.benchmarks.clock import StepClock
from hf_distill.benchmarks.recipe import Recipe


class HandWrittenLoop:
    """A frozen teacher's forward, the student's forward and backward, clipping, fused AdamW and a linear schedule.

    The rows come in their own order. It computes what the trainers do, step by step.

    Args:
        student: A classifier.
        teacher: Another.
        rows: As many as the steps need, or more.
        collator: Makes a batch out of rows.
        recipe: How to train, with ``max_steps``.
        clock: Told of each step.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        rows: Dataset,
        collator: Callable[[list[dict[str, Any]]], Any],
        recipe: Recipe,
        clock: StepClock,
    ) -> None:
        self.recipe, self.clock = recipe, clock
        arguments = recipe.arguments(TrainingArguments)
        self.device = arguments.device
        self.student = student.to(self.device)
        teacher.requires_grad_(False).eval().to(self.device, torch.bfloat16 if recipe.bf16 else None)
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.0, fused=True)
        self.loader = DataLoader(
            rows, recipe.batch_size, collate_fn=collator, drop_last=True, pin_memory=arguments.dataloader_pin_memory
        )
        self._ask_student = torch.compile(student) if recipe.torch_compile else student
        self._ask_teacher = torch.compile(teacher) if recipe.torch_compile else teacher
        self.losses: list[Tensor] = []

    def train(self) -> None:
        """All steps; the loss of each is in ``losses`` afterwards."""
        set_seed(self.recipe.seed)
        scheduler = get_linear_schedule_with_warmup(self.optimizer, 0, self.recipe.max_steps)
        self.student.train()
        self.losses.clear()
        self.clock.start()
        for batch in islice(self.loader, self.recipe.max_steps):
            inputs = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
            loss = self._loss(inputs, inputs.pop("labels"))
            loss.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.max_grad_norm)
            self.optimizer.step()
            scheduler.step()
            self.optimizer.zero_grad()
            self.losses.append(loss.detach())
            self.clock.end_step()

    def _loss(self, inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        recipe, temperature = self.recipe, self.recipe.temperature
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
            with torch.no_grad():
                teacher_logits = self._ask_teacher(**inputs).logits.float()
            student_logits = self._ask_student(**inputs).logits.float()
        soft = F.kl_div(
            F.log_softmax(student_logits / temperature, dim=-1),
            F.log_softmax(teacher_logits / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        hard = F.cross_entropy(student_logits, labels)
        return recipe.soft_target_weight * temperature**2 * soft + recipe.hard_target_weight * hard
