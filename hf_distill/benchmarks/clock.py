"""CPU time beside wall time, read where the device has finished what was asked of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback


@dataclass(frozen=True)
class Duration:
    """Seconds.

    Attributes:
        cpu: Used by all threads of this process, on all cores.
        wall: On the wall.
    """

    cpu: float
    wall: float

    def __sub__(self, other: Duration) -> Duration:
        """From the other to this."""
        return Duration(self.cpu - other.cpu, self.wall - other.wall)

    def __truediv__(self, count: float) -> Duration:
        """One part of many."""
        return Duration(self.cpu / count, self.wall / count)


def read_clock() -> Duration:
    """Both clocks, after an accelerator, if there is one, has done all that was launched."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return Duration(cpu=time.process_time(), wall=time.perf_counter())


class StepClock(TrainerCallback):
    """Times the steps of a training that follow its first ones, from the end of one step to the end of another.

    So everything that a step does is in it, fetching its batch too, and neither the start nor the end of a training
    is. The clocks are read twice only, so that an accelerator is not held up in between.

    Args:
        warm_up_steps: At least one: the first steps, which are not timed.
        timed_steps: The steps after them.
    """

    def __init__(self, warm_up_steps: int, timed_steps: int) -> None:
        self.warm_up_steps, self.timed_steps = warm_up_steps, timed_steps
        self._steps = 0
        self._started: Duration | None = None
        self._ended: Duration | None = None

    @property
    def total_steps(self) -> int:
        """How many steps a training must have."""
        return self.warm_up_steps + self.timed_steps

    def start(self) -> None:
        """Another training begins."""
        self._steps = 0

    def end_step(self) -> None:
        """A step is over."""
        self._steps += 1
        if self._steps == self.warm_up_steps:
            self._started = read_clock()
        elif self._steps == self.total_steps:
            self._ended = read_clock()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """As Trainer calls it."""
        self.start()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """As Trainer calls it, after the optimiser's step."""
        self.end_step()

    def total(self) -> Duration:
        """All timed steps of the last training together."""
        if self._started is None or self._ended is None or self._steps != self.total_steps:
            raise RuntimeError(f"{self._steps} steps were made where {self.total_steps} were to be timed.")
        return self._ended - self._started

    def per_step(self) -> Duration:
        """The mean of the timed steps."""
        return self.total() / self.timed_steps
