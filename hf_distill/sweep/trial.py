"""One trial of a sweep: the values that it was given, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Trial:
    """A trial that is over.

    Attributes:
        number: Counted from 1.
        values: By the name of the training argument that was searched.
        scores: Of the students, by seed; empty if one of them diverged or its score is undefined.
        seconds: For training and scoring all of them.
    """

    number: int
    values: dict[str, float]
    scores: list[float]
    seconds: float

    @property
    def score(self) -> float | None:
        """The mean over the seeds, None without scores."""
        return fmean(self.scores) if self.scores else None


def best_first(trials: Iterable[Trial]) -> list[Trial]:
    """By score, equal ones in the order of their numbers; those without a score come last."""
    return sorted(trials, key=lambda trial: -math.inf if trial.score is None else trial.score, reverse=True)


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The trial of the highest score, None if no trial has any."""
    first = next(iter(best_first(trials)), None)
    return first if first is not None and first.score is not None else None


def accuracy_standard_error(accuracy: float, rows: int) -> float:
    """How far the accuracy on other rows of the same number would lie off, typically.

    Half the width of Wilson's interval at one standard error (1927, https://doi.org/10.1080/01621459.1927.10502953).
    Unlike √(p (1 − p) / n), from which it hardly differs otherwise, it is not 0 where all rows are right.
    """
    return math.sqrt(accuracy * (1 - accuracy) * rows + 1 / 4) / (rows + 1)
