"""Train a model on a task, with a teacher or without."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.teachers.teacher import Teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.data import TaskData


def train(
    model: PreTrainedModel,
    args: DistillationTrainingArguments,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase,
    teacher: nn.Module | Teacher | None = None,
) -> DistillationTrainer:
    """Train, or go on training where ``args.resume_from_checkpoint`` says; the result is saved in ``output_dir``."""
    trainer = DistillationTrainer(
        model=model,
        teacher_model=teacher,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval_dataset,
        processing_class=tokenizer,
        data_collator=data.collator,
        compute_metrics=data.compute_metrics,
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    return trainer


def without_teacher(
    args: DistillationTrainingArguments, folder: Path, **changes: Any
) -> DistillationTrainingArguments:
    """The same arguments for learning from the labels alone, in another folder."""
    changes |= {"soft_target_weight": 0.0, "hard_target_weight": 1.0, "hidden_state_weight": 0.0}
    return dataclasses.replace(args, output_dir=str(folder), **changes)


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
