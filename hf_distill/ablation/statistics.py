"""Means, and how sure a difference over a few seeds is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Some numbers, one for each seed.

    Attributes:
        values: At least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Their standard deviation, with n - 1; None of a single one."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def half_width(self) -> float | None:
        """Of Student's 95 % interval around the mean; None of a single one."""
        if self.sd is None:
            return None
        return student_quantile(len(self.values) - 1) * self.sd / math.sqrt(len(self.values))


def sample(values: Sequence[float | None]) -> Sample | None:
    """The values that there are; None if there is none."""
    found = tuple(value for value in values if value is not None)
    return Sample(found) if found else None


def paired(values: Sequence[float | None], reference: Sequence[float | None]) -> Sample | None:
    """The differences seed by seed, where both have a value; None if there is none.

    Seeds share the order of the rows, so that a difference within a seed says more than one between means.
    """
    pairs = zip(values, reference, strict=True)
    return sample([None if one is None or other is None else one - other for one, other in pairs])


def student_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t between whose negative and itself Student's distribution has this probability, to 12 digits.

    Args:
        degrees: Of freedom, 1 or more.
        confidence: Between 0 and 1.
    """
    low, high = 0.0, math.pi / 2
    while high - low > 1e-15:
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _central_probability(angle: float, degrees: int) -> float:
    """Between -t and t, t being √degrees times the tangent of the angle (Abramowitz and Stegun 1964, 26.7.3 and 4)."""
    is_odd = degrees % 2
    term, total = (math.cos(angle) if is_odd else 1.0), 0.0
    for number in range(degrees // 2):
        total += term
        step = 2 * number + 1 + is_odd
        term *= step / (step + 1) * math.cos(angle) ** 2
    if is_odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
