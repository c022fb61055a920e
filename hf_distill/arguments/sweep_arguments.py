"""What a sweep searches, and for how long."""

import math
from dataclasses import dataclass, field

from hf_distill.errors import InputError


@dataclass
class SweepArguments:
    """Which temperatures, weights and learning rates to try.

    The weight of the hard targets is what that of the soft targets leaves of 1. The first trial is the run as its
    arguments have it, if that lies in the ranges.

    Raises:
        InputError: If a range is none, or there is nothing to search.
    """

    _argument_group_name = "sweep"

    n_trials: int = field(default=20, metadata={"help": "Students to train, each with its own values."})
    temperature_range: list[float] = field(
        default_factory=lambda: [1.0, 8.0],
        metadata={
            "help": "Lowest and highest temperature, drawn by their logarithm; the same number twice keeps it fixed."
        },
    )
    soft_target_weight_range: list[float] = field(
        default_factory=lambda: [0.0, 1.0],
        metadata={
            "help": "Lowest and highest soft_target_weight, between 0 and 1; hard_target_weight is what is left of 1."
        },
    )
    learning_rate_range: list[float] | None = field(
        default=None,
        metadata={"help": "Lowest and highest learning rate, drawn by their logarithm; unset, learning_rate."},
    )
    trial_seeds: int = field(
        default=1,
        metadata={
            "help": "Train the student of each trial with this many seeds, from seed on, which draw the order of the "
            "rows and the dropout; the mean of their scores counts."
        },
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        for name in ("n_trials", "trial_seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, with which nothing is trained; use 1 or more.")
        ranges = {
            "temperature_range": self.temperature_range,
            "soft_target_weight_range": self.soft_target_weight_range,
            "learning_rate_range": self.learning_rate_range,
        }
        given = {name: values for name, values in ranges.items() if values is not None}
        for name, values in given.items():
            _check_range(name, values)
        if min(self.soft_target_weight_range) < 0 or max(self.soft_target_weight_range) > 1:
            raise InputError(
                f"soft_target_weight_range is {self.soft_target_weight_range}, and the two weights of a trial sum to "
                "1; use numbers from 0 to 1."
            )
        if all(low == high for low, high in given.values()):
            raise InputError(
                f"{', '.join(given)} leave one value each, so there is nothing to search; widen one of them."
            )


def _check_range(name: str, values: list[float]) -> None:
    if len(values) != 2 or not all(math.isfinite(value) for value in values) or values[0] > values[1]:
        raise InputError(f"{name} is {values}, which is no range; give two numbers, the lower one first.")
    if name != "soft_target_weight_range" and values[0] <= 0:
        raise InputError(f"{name} is {values}, and it is searched by its logarithm; use numbers above 0.")
