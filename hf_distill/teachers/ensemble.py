"""Several teachers for one student."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.signals import MixedLogits, Signals
from hf_distill.teachers.teacher import Teacher, as_teacher


class TeacherEnsemble:
    """Teachers whose soft targets are averaged: the weighted mean of their tempered distributions, or of scores.

    Each is asked alone, live or cached, and each may number the classes in its own way.

    Args:
        teachers: Models or teachers.
        weights: How much each counts, greater than 0; only their ratios matter. Equal if not given.

    Raises:
        InputError: No teachers, or weights that do not fit them.

    Example:
        >>> teacher = TeacherEnsemble([large_model, larger_model], weights=[1, 2])
        >>> trainer = DistillationTrainer(model=student, teacher_model=teacher, args=args, train_dataset=rows)
    """

    def __init__(self, teachers: Sequence[nn.Module | Teacher], weights: Sequence[float] | None = None) -> None:
        if not teachers:
            raise InputError("There are no teachers to average: give at least one.")
        self.teachers = tuple(as_teacher(teacher) for teacher in teachers)
        self.weights = _normalised([1.0] * len(teachers) if weights is None else weights, len(teachers))

    def __copy__(self) -> TeacherEnsemble:
        """With copies of its teachers, each of which knows the student that it is paired with."""
        return TeacherEnsemble(self.teachers, self.weights)

    @property
    def input_names(self) -> frozenset[str]:
        """What any of the teachers reads."""
        return frozenset().union(*(teacher.input_names for teacher in self.teachers))

    @property
    def shape(self) -> ModelShape:
        """None that holds for all: it is asked for when more than answers are compared.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"The objective compares more than answers, and there are {len(self.teachers)} teachers, each with layers "
            "in a space of its own, which have no mean: leave only the weights of soft and hard targets above 0, or "
            "use one teacher."
        )

    def pair_with(self, student: nn.Module, needs: SignalNeeds, tokenizer: Any = None) -> None:
        """Pair each teacher with the student.

        Raises:
            InputError: One does not fit.
        """
        for number, teacher in enumerate(self.teachers, start=1):
            try:
                teacher.pair_with(student, needs, tokenizer)
            except InputError as error:
                raise InputError(f"Teacher {number} of {len(self.teachers)}: {error}") from error

    def prepare(self, accelerator: Accelerator, device: torch.device) -> None:
        """Get each ready where the student trains."""
        for teacher in self.teachers:
            teacher.prepare(accelerator, device)

    def collator(self, collator: Callable) -> Callable:
        """A collator with whatever any of the teachers adds to a batch."""
        for teacher in self.teachers:
            collator = teacher.collator(collator)
        return collator

    def __call__(self, inputs: Mapping[str, Any], needs: SignalNeeds = NOTHING_ELSE) -> Signals:
        """Every teacher's answer to a batch, side by side: the objective knows at which temperature to average.

        Args:
            inputs: The collated batch.
            needs: Nothing; see :attr:`shape`.

        Raises:
            InputError: A teacher's answers are sparse.
        """
        signals = [teacher(inputs) for teacher in self.teachers]
        if any(answer.sparse is not None for answer in signals):
            raise InputError(
                "A teacher among several answers with sampled tokens, and the entropy of the mean of such answers is "
                "unknown: cache the teachers' whole logits, or use one teacher."
            )
        return Signals(None, mixed=MixedLogits(tuple(answer.dense_logits for answer in signals), self.weights))


def _normalised(weights: Sequence[float], number: int) -> tuple[float, ...]:
    if len(weights) != number:
        raise InputError(f"There are {number} teachers and {len(weights)} weights: give one weight for each teacher.")
    if not all(weight > 0 and math.isfinite(weight) for weight in weights):
        raise InputError(f"The teachers' weights are {list(weights)}: each must be above 0; leave out what counts 0.")
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
