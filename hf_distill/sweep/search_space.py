"""What a sweep searches: a range for each argument of the training that it sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hf_distill.arguments import DistillationTrainingArguments, SweepArguments


@dataclass(frozen=True)
class Range:
    """Values that may be drawn.

    Attributes:
        low: The lowest.
        high: The highest.
        log: Whether the logarithm is what is spread evenly.
    """

    low: float
    high: float
    log: bool = False

    @property
    def is_fixed(self) -> bool:
        """Whether there is one value only."""
        return self.low == self.high


def search_space(sweep: SweepArguments) -> dict[str, Range]:
    """The ranges by the name of the training argument."""
    space = {
        "temperature": _range(sweep.temperature_range, log=True),
        "soft_target_weight": _range(sweep.soft_target_weight_range),
    }
    if sweep.learning_rate_range is not None:
        space["learning_rate"] = _range(sweep.learning_rate_range, log=True)
    return space


def own_values(args: DistillationTrainingArguments, space: dict[str, Range]) -> dict[str, float] | None:
    """The values that the arguments themselves have; None if they lie outside of what is searched."""
    soft, hard = args.soft_target_weight, args.hard_target_weight
    if isinstance(soft, dict) or isinstance(hard, dict) or isinstance(args.temperature, dict):
        return None
    if not math.isclose(soft + hard, 1):
        return None
    values = {name: float(getattr(args, name)) for name in space}
    return values if all(space[name].low <= value <= space[name].high for name, value in values.items()) else None


def _range(values: list[float], log: bool = False) -> Range:
    low, high = values
    return Range(low, high, log)
