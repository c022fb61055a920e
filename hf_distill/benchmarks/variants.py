"""The ways of training that are compared, each made ready to be trained again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset
from torch import nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.benchmarks.blog_trainer import BlogTrainer
from hf_distill.benchmarks.clock import StepClock
from hf_distill.benchmarks.hand_written_loop import HandWrittenLoop
from hf_distill.benchmarks.recipe import Recipe
from hf_distill.teachers.cache import cache_teacher_outputs
from hf_distill.teachers.teacher import Teacher
from hf_distill.trainer import DistillationTrainer


class Training(Protocol):
    """Something that trains a student when it is told to."""

    def train(self) -> Any:
        """From the first step to the last; again, it goes on with the weights that it left."""


@dataclass(frozen=True)
class Ingredients:
    """What a training is made from.

    Attributes:
        student: Trained in place.
        teacher: Frozen in place, and under bf16 perhaps cast.
        rows: Tokenized.
        collator: Makes a batch out of rows.
        recipe: How to train.
        clock: Told of each step.
        cache_dir: Where the teacher's outputs are kept, or will be.
    """

    student: nn.Module
    teacher: nn.Module
    rows: Dataset
    collator: Callable[[list[dict[str, Any]]], Any]
    recipe: Recipe
    clock: StepClock
    cache_dir: Path


def floor(given: Ingredients) -> Training:
    """The loop written by hand."""
    return HandWrittenLoop(given.student, given.teacher, given.rows, given.collator, given.recipe, given.clock)


def blog(given: Ingredients, **own: Any) -> Training:
    """The usual subclass of ``Trainer``."""
    trainer = BlogTrainer(
        teacher_model=given.teacher,
        temperature=given.recipe.temperature,
        alpha=given.recipe.hard_target_weight,
        model=given.student,
        args=given.recipe.arguments(TrainingArguments, **own),
        **_of_any_trainer(given),
    )
    return _silent(trainer)


def live(given: Ingredients, **own: Any) -> Training:
    """Ours, the teacher computing beside the student."""
    return _ours(given, given.teacher, **own)


def cached(given: Ingredients, **own: Any) -> Training:
    """Ours, the teacher's outputs read from ``cache_dir``, after they were written where they were not there yet."""
    return _ours(given, cached_teacher(given), **own)


def cached_teacher(given: Ingredients) -> Teacher:
    """Its outputs for all rows, read or computed."""
    device = given.recipe.arguments(TrainingArguments).device
    return cache_teacher_outputs(
        given.teacher, given.rows, given.cache_dir, data_collator=given.collator, device=device
    )


VARIANTS: dict[str, Callable[..., Training]] = {"floor": floor, "blog": blog, "live": live, "cached": cached}

DESCRIPTIONS = {
    "floor": "hand-written loop",
    "blog": "usual Trainer subclass",
    "live": "hf_distill, live teacher",
    "cached": "hf_distill, cached teacher",
}


def _ours(given: Ingredients, teacher: nn.Module | Teacher, **own: Any) -> Training:
    arguments = given.recipe.arguments(
        DistillationTrainingArguments,
        temperature=given.recipe.temperature,
        soft_target_weight=given.recipe.soft_target_weight,
        hard_target_weight=given.recipe.hard_target_weight,
        **own,
    )
    return _silent(DistillationTrainer(given.student, teacher, arguments, **_of_any_trainer(given)))


def _of_any_trainer(given: Ingredients) -> dict[str, Any]:
    return {"train_dataset": given.rows, "data_collator": given.collator, "callbacks": [given.clock]}


def _silent(trainer: Trainer) -> Trainer:
    """Without the callback that prints the logs to where the results go."""
    trainer.remove_callback(PrinterCallback)
    return trainer
