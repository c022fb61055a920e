"""Train a model on a task, with a teacher or without."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.arguments.objective_arguments import LABELS_ALONE
from hf_distill.teachers.teacher import Teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.data import TaskData


def train(
    model: PreTrainedModel,
    args: DistillationTrainingArguments,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase | BaseImageProcessor,
    teacher: nn.Module | Teacher | None = None,
    before: Callable[[DistillationTrainer], None] | None = None,
) -> DistillationTrainer:
    """Train, or go on training where ``args.resume_from_checkpoint`` says; the result is saved in ``output_dir``.

    ``before`` is called with the trainer when all is ready.
    """
    trainer = new_trainer(model, args, data, tokenizer, teacher)
    if before is not None:
        before(trainer)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    return trainer


def new_trainer(
    model: PreTrainedModel,
    args: DistillationTrainingArguments,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase | BaseImageProcessor | None,
    teacher: nn.Module | Teacher | None = None,
) -> DistillationTrainer:
    """A trainer on the rows of a task."""
    return DistillationTrainer(
        model=model,
        teacher_model=teacher,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval_dataset,
        processing_class=tokenizer,
        data_collator=data.collator,
        compute_metrics=data.compute_metrics,
    )


def without_teacher(
    args: DistillationTrainingArguments, folder: Path, **changes: Any
) -> DistillationTrainingArguments:
    """The same arguments for learning from the labels alone, in another folder."""
    return dataclasses.replace(args, output_dir=str(folder), **{**LABELS_ALONE, **changes})


class Stopwatch:
    """Seconds by name, for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """What passed since the last lap."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._started, 1)
        self._started = now
