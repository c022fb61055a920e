"""Many timings in three numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quartiles:
    """The median and the two quartiles around it."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Of at least one value; between two values the quantiles are interpolated."""
        lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median, lower, upper)

    def __str__(self) -> str:
        """As a table shows it."""
        return f"{self.median:.2f} ({self.lower:.2f}–{self.upper:.2f})"


def ratios(values: Sequence[float], baseline: Sequence[float]) -> Quartiles:
    """Each value over the baseline's of the same round, since rounds differ more than variants do.

    Args:
        values: One for each round.
        baseline: The same number of them.
    """
    return Quartiles.of([value / base for value, base in zip(values, baseline, strict=True)])
