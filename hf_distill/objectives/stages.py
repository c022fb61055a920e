"""Objectives after one another in one training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from torch import nn

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.objective import DistillationObjective
from hf_distill.problem_type import ProblemType
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    Attributes:
        objective: What the student learns from in it. Its schedules run from the stage's beginning to its end.
        share: Of the whole training's steps, above 0.
        learning_rate: At its peak; None for the training's own. The learning rate warms up and decays within each
            stage.
        name: For the log.
    """

    objective: DistillationObjective
    share: float = 1.0
    learning_rate: float | None = None
    name: str = ""


class Stages:
    """A training's objectives: one, or several after one another, as in TinyBERT.

    TinyBERT (Jiao et al. 2020, https://arxiv.org/abs/1909.10351, section 3.2) learns what lies between the layers
    first and the predictions after that. All stages belong to one training: one optimiser, one series of checkpoints,
    and a resumed run goes on in the stage that it was in.

    Args:
        stages: In their order; the shares must add up to 1.

    Raises:
        InputError: There are none, or their shares do not add up to 1.

    Example:
        >>> from hf_distill.objectives import DistillationObjective, HiddenStates, SoftTargets
        >>> layers = DistillationObjective([HiddenStates(loss="mse", layer_mapping="auto")])
        >>> answers = DistillationObjective([SoftTargets(temperature=1.0)])
        >>> Stages([Stage(layers, share=0.6), Stage(answers, share=0.4)]).boundaries(100)
        [0, 60, 100]
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages:
            raise InputError("There are no stages: give at least one.")
        shares = [stage.share for stage in stages]
        if not all(share > 0 for share in shares) or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
            raise InputError(
                f"The stages' shares of the training are {shares}; they must be above 0 and add up to 1, such as 0.6 "
                "and 0.4."
            )
        rates = [stage.learning_rate for stage in stages if stage.learning_rate is not None]
        if not all(rate >= 0 and math.isfinite(rate) for rate in rates):
            raise InputError(f"The stages' learning rates are {rates}; they must be 0 or more.")
        self.stages = tuple(stages)

    @classmethod
    def of(cls, objective: DistillationObjective | Stages) -> Stages:
        """One objective from beginning to end, or stages as they are."""
        return objective if isinstance(objective, Stages) else cls([Stage(objective)])

    def boundaries(self, max_steps: int) -> list[int]:
        """The step at which each stage begins, and the number of all steps."""
        ends = [sum(stage.share for stage in self.stages[: count + 1]) for count in range(len(self.stages))]
        return [0, *(round(end * max_steps) for end in ends[:-1]), max_steps]

    def number_at(self, step: int, max_steps: int) -> int:
        """The stage that an optimiser step, counted from 0, belongs to; the first while the steps are unknown."""
        if max_steps <= 0:
            return 0
        begins = self.boundaries(max_steps)[:-1]
        return max(number for number, begin in enumerate(begins) if begin <= step or number == 0)

    def at(self, step: int, max_steps: int) -> DistillationObjective:
        """The objective as it stands at an optimiser step, counted from 0."""
        number = self.number_at(step, max_steps)
        begin, end = self.boundaries(max_steps)[number : number + 2]
        return self.stages[number].objective.at((step - begin) / max(end - begin, 1))

    @property
    def term_names(self) -> tuple[str, ...]:
        """The terms that take part at some time."""
        return tuple(dict.fromkeys(name for objective in self.objectives for name in objective.term_names))

    @property
    def objectives(self) -> list[DistillationObjective]:
        """One for each stage."""
        return [stage.objective for stage in self.stages]

    @property
    def needs_teacher(self) -> bool:
        """Whether any looks at the teacher."""
        return any(objective.needs_teacher for objective in self.objectives)

    @property
    def always_needs_answers(self) -> bool:
        """Whether each looks at the logits at all times."""
        return all(objective.always_needs_answers for objective in self.objectives)

    @property
    def aligns_tokens(self) -> bool:
        """Whether any compares the two models token by token."""
        return any(objective.aligns_tokens for objective in self.objectives)

    @property
    def looks_inside(self) -> bool:
        """Whether any looks at more of the teacher than its answers."""
        return any(term.looks_inside for objective in self.objectives for term in objective.terms)

    @property
    def student_needs(self) -> SignalNeeds:
        """What any looks at in the student beside the logits; once resolved."""
        return reduce(or_, (objective.student_needs for objective in self.objectives))

    @property
    def teacher_needs(self) -> SignalNeeds:
        """What any looks at in the teacher beside the logits; once resolved."""
        return reduce(or_, (objective.teacher_needs for objective in self.objectives))

    def check_problem(self, problem_type: ProblemType) -> None:
        """Check that all terms fit what is asked of the models.

        Raises:
            InputError: One does not.
        """
        for objective in self.objectives:
            for term in objective.terms:
                term.check_problem(problem_type)

    def resolved(self, student: ModelShape, teacher: ModelShape) -> Stages:
        """The same stages for two models, with nothing left open.

        Raises:
            InputError: A term cannot compare these two.
        """
        return Stages([replace(stage, objective=stage.objective.resolved(student, teacher)) for stage in self.stages])

    def projections(self, student: ModelShape, teacher: ModelShape) -> dict[str, tuple[int, int]]:
        """By name, the widths from and to which any projects hidden states."""
        return reduce(or_, (objective.projections(student, teacher) for objective in self.objectives))


def needs_of_teacher(objective: DistillationObjective | Stages, student: nn.Module, teacher: nn.Module) -> SignalNeeds:
    """What an objective looks at in a teacher beside its logits, for :func:`~hf_distill.cache_teacher_outputs`.

    Args:
        objective: One, or stages.
        student: The model that will learn.
        teacher: The model that teaches.

    Raises:
        InputError: A term cannot compare these two.
    """
    stages = Stages.of(objective)
    if not stages.looks_inside:
        return NOTHING_ELSE
    return stages.resolved(ModelShape.of(student), ModelShape.of(teacher)).teacher_needs
