"""The weighted sum that a student learns from, its terms known by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.term import Term
from hf_distill.schedules import Schedule, extremes, value_at
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals


class DistillationObjective:
    """``Σ weight · term``: each term an average over what counts in the whole optimiser step.

    A term of weight 0 is not computed, and nothing that it alone would look at is.

    Args:
        terms: Those that may take part; a term whose weight is 0 throughout is left out.

    Raises:
        InputError: Nothing is left, or two terms have the same name.

    Example:
        >>> from hf_distill.objectives import HardTargets, HiddenStates, SoftTargets
        >>> objective = DistillationObjective(
        ...     [SoftTargets(weight=0.5, temperature=2.0), HardTargets(weight=0.5), HiddenStates(weight=1.0)]
        ... )
        >>> objective.term_names
        ('soft_target_loss', 'hard_target_loss', 'hidden_state_loss')
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(term for term in terms if term.takes_part)
        if not self.terms:
            raise InputError(
                "All weights of the objective are 0, so there is nothing to learn; set one of them above 0."
            )
        self._check_schedules()
        names = self.term_names
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(
                f"Several terms are named {', '.join(sorted(twice))}, under which each is logged; give each a name."
            )

    def _check_schedules(self) -> None:
        """Weights are looked at where a schedule turns, and just before."""
        turns = {turn for term in self.terms if isinstance(term.weight, Schedule) for turn in term.weight.turns}
        for progress in sorted({0.0, *turns}):
            if not any(value_at(term.weight, progress) > 0 for term in self.terms):
                raise InputError(
                    f"After {100 * progress:.4g} % of the training no weight of the objective is above 0, so there "
                    "would be nothing to learn; let the schedules overlap, or begin above 0."
                )

    def __repr__(self) -> str:
        """Its terms."""
        return f"DistillationObjective({list(self.terms)})"

    @property
    def term_names(self) -> tuple[str, ...]:
        """The terms that take part, in the order in which they are logged."""
        return tuple(term.name for term in self.terms)

    @property
    def needs_teacher(self) -> bool:
        """Whether any term looks at the teacher."""
        return any(term.looks_at_teacher for term in self.terms)

    @property
    def always_needs_answers(self) -> bool:
        """Whether some term looks at the logits from beginning to end."""
        return any(not term.looks_inside and extremes(term.weight)[0] > 0 for term in self.terms)

    @property
    def aligns_tokens(self) -> bool:
        """Whether any term compares the two models token by token."""
        return any(term.aligns_tokens for term in self.terms)

    @property
    def student_needs(self) -> SignalNeeds:
        """What the terms look at in the student beside the logits."""
        return reduce(or_, (term.student_needs for term in self.terms))

    @property
    def teacher_needs(self) -> SignalNeeds:
        """What the terms look at in the teacher beside the logits."""
        return reduce(or_, (term.teacher_needs for term in self.terms))

    @property
    def of_examples(self) -> DistillationObjective | None:
        """The terms that compare the examples of a step with one another; None if there are none."""
        terms = [term for term in self.terms if term.compares_examples]
        return DistillationObjective(terms) if terms else None

    def resolved(self, student: ModelShape, teacher: ModelShape) -> DistillationObjective:
        """The same objective for two models, with nothing left open.

        Raises:
            InputError: A term cannot compare these two.
        """
        return DistillationObjective([term.resolved(student, teacher) for term in self.terms])

    def projections(self, student: ModelShape, teacher: ModelShape) -> dict[str, tuple[int, int]]:
        """By name, the widths from and to which the terms project hidden states."""
        return reduce(or_, (term.projections(student, teacher) for term in self.terms))

    def at(self, progress: float) -> DistillationObjective:
        """The same objective as it stands at a share of the training, from 0 to 1.

        Raises:
            InputError: No weight is above 0 there.
        """
        terms = [term.at(progress) for term in self.terms]
        if all(old is new for old, new in zip(self.terms, terms, strict=True)):
            return self
        return DistillationObjective(terms)

    def values(self, student: Signals, teacher: Signals | None, batch: MicroBatch) -> dict[str, Tensor]:
        """The unweighted terms of one micro-batch.

        Args:
            student: What the student said.
            teacher: The same of the teacher; None where no term needs it.
            batch: What counts.

        Returns:
            Scalars by name; summed over micro-batches and processes they give the values of the step.

        Raises:
            InputError: A term needs labels and there are none, or teacher and student do not fit each other.
        """
        values = {}
        for term in self.terms:
            # A term that does not look at the teacher is given whatever there is.
            compared = teacher if term.looks_at_teacher else student
            if compared is None:
                raise ValueError(f"{term.name} compares with a teacher, whose signals are not given.")
            values[term.name] = term(student, compared, batch)
        return values

    def weighted_sum(self, values: dict[str, Tensor]) -> Tensor:
        """The loss to minimise."""
        weights = {term.name: value_at(term.weight, 0.0) for term in self.terms}
        return torch.stack([weights[name] * value for name, value in values.items()]).sum()
