"""Numbers that change while a student trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hf_distill.errors import InputError

SHAPES = ("linear", "cosine", "step")


@dataclass(frozen=True)
class Schedule:
    """A temperature or a weight that goes from one value to another.

    Attributes:
        start: The value up to ``begin``.
        end: The value from ``finish`` on.
        shape: How it goes from one to the other: ``linear``, ``cosine`` (slow at both ends), or ``step``: at once, at
            ``begin``.
        begin: The share of training at which the change begins, from 0 to 1.
        finish: The share at which it is over.

    Raises:
        InputError: A value is out of range.

    Example:
        >>> Schedule(8.0, 2.0, shape="linear")(0.5)
        5.0
        >>> Schedule(1.0, 0.0, shape="step", begin=0.3)(0.4)
        0.0
    """

    start: float
    end: float
    shape: str = "linear"
    begin: float = 0.0
    finish: float = 1.0

    def __post_init__(self) -> None:
        """Check the shape and the shares."""
        if self.shape not in SHAPES:
            raise InputError(f"A schedule's shape is {self.shape!r}; use one of {', '.join(SHAPES)}.")
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise InputError(f"A schedule goes from {self.start} to {self.end}; use numbers.")
        if not 0 <= self.begin <= self.finish <= 1:
            raise InputError(
                f"A schedule begins at {self.begin} and is over at {self.finish}, which are shares of the training; "
                "use numbers from 0 to 1, the first not above the second."
            )

    @property
    def turns(self) -> list[float]:
        """The shares of the training, below 1, at which it may reach its smallest value, and just before."""
        shares = (self.begin, self.finish, 1.0)
        return [share for turn in shares for share in (turn, turn - 1e-6) if 0 <= share < 1]

    def __call__(self, progress: float) -> float:
        """The value at a share of the training, from 0 to 1."""
        if self.shape == "step":
            return self.start if progress < self.begin else self.end
        if progress < self.begin:
            return self.start
        if progress >= self.finish:
            return self.end
        done = (progress - self.begin) / (self.finish - self.begin)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done

    @classmethod
    def read(cls, value: float | Mapping[str, Any] | Schedule, name: str) -> float | Schedule:
        """A number as it is, a mapping such as ``{start: 8, end: 2, shape: cosine}`` as a schedule.

        Args:
            value: As a configuration holds it.
            name: Of the setting, for the message.

        Raises:
            InputError: The mapping is no schedule.
        """
        if not isinstance(value, Mapping):
            return value
        known = [field.name for field in fields(cls)]
        unknown = [key for key in value if key not in known]
        if unknown or "start" not in value or "end" not in value:
            raise InputError(
                f"{name} is {dict(value)}, and a schedule needs start and end, and may have shape, begin and finish"
                f"{'; ' + ', '.join(unknown) + ' is unknown' if unknown else ''}; write a number, or for example "
                "{start: 8, end: 2, shape: linear}."
            )
        try:
            numbers: dict[str, Any] = {key: item if key == "shape" else float(item) for key, item in value.items()}
            return cls(**numbers)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        except (TypeError, ValueError):
            raise InputError(f"{name} is {dict(value)}, where a number is due; write numbers.") from None


def extremes(value: float | Schedule) -> tuple[float, float]:
    """The smallest and the largest that it ever is."""
    values = (value.start, value.end) if isinstance(value, Schedule) else (value, value)
    return min(values), max(values)


def value_at(value: float | Schedule, progress: float) -> float:
    """What it is at a share of the training, from 0 to 1."""
    return value(progress) if isinstance(value, Schedule) else value
