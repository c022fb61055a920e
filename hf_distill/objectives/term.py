"""What all terms of an objective have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.problem_type import ProblemType
from hf_distill.schedules import Schedule, extremes, value_at
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

AnyTerm = TypeVar("AnyTerm", bound="Term")


@dataclass(frozen=True, kw_only=True)
class Term(ABC):
    """One named, weighted part of an objective.

    Every term is an average over what counts in the whole optimiser step, so that its size depends neither on the
    batch size nor on the length of the sequences, and a weight means the same everywhere.

    Attributes:
        weight: What it is multiplied by, 0 or more, or a :class:`Schedule` of that.
        name: Under which it is logged; unique in an objective.
        looks_at_teacher: It compares the student with the teacher.
        looks_inside: It compares more than answers.
        aligns_tokens: It compares them token by token.

    Raises:
        InputError: A weight is negative or not finite.
    """

    weight: float | Schedule = 1.0
    name: str = ""

    looks_at_teacher: ClassVar[bool] = True
    looks_inside: ClassVar[bool] = False
    aligns_tokens: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the weight."""
        check_weight(self.weight, f"The weight of {self.name}")

    @property
    def compares_examples(self) -> bool:
        """Whether it compares the examples of a step with one another."""
        return False

    @property
    def takes_part(self) -> bool:
        """Whether its weight is ever above 0."""
        return extremes(self.weight)[1] > 0

    @property
    def student_needs(self) -> SignalNeeds:
        """What it looks at in the student beside the logits."""
        return SignalNeeds()

    @property
    def teacher_needs(self) -> SignalNeeds:
        """What it looks at in the teacher beside the logits."""
        return SignalNeeds()

    def resolved(self: AnyTerm, student: ModelShape, teacher: ModelShape) -> AnyTerm:
        """The same term for two models, with nothing left open.

        Raises:
            InputError: It cannot compare these two.
        """
        return self

    def check_problem(self, problem_type: ProblemType) -> None:  # a hook, empty for terms that fit everything
        """Check that it fits what is asked of the models.

        Raises:
            InputError: It does not.
        """
        return None

    def projections(self, student: ModelShape, teacher: ModelShape) -> dict[str, tuple[int, int]]:
        """By name, the widths from and to which hidden states must be projected before they can be compared."""
        return {}

    def at(self: AnyTerm, progress: float) -> AnyTerm:
        """The same term with the values that its schedules have at a share of the training, from 0 to 1."""
        scheduled: dict[str, Any] = {
            field.name: value_at(value, progress)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Schedule)
        }
        return replace(self, **scheduled) if scheduled else self

    @abstractmethod
    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """The unweighted value, a scalar: this micro-batch's share of the average over the step.

        Args:
            student: What the student said.
            teacher: What the teacher said; it receives no gradient.
            batch: What counts.
        """


def check_weight(weight: float | Schedule, name: str) -> None:
    """Check that a weight is never below 0.

    Args:
        weight: Of a term.
        name: What it is called, for the message.

    Raises:
        InputError: It is negative or not finite.
    """
    smallest, largest = extremes(weight)
    if not (math.isfinite(smallest) and math.isfinite(largest) and smallest >= 0):
        raise InputError(f"{name} is {weight}, which would push the student away from its target; use 0 or more.")
