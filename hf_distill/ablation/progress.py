"""How far an ablation is, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean

from hf_distill.ablation.trial import Outcome, Trial


class Progress:
    """Estimates from the students that this and other processes have finished since it was made.

    Args:
        planned: How many students there will be.
        finished: How many there are already.
    """

    def __init__(self, planned: int, finished: int) -> None:
        self.planned, self._finished_before = planned, finished
        self._started = time.perf_counter()

    def line(self, trial: Trial, outcomes: Mapping[Trial, Outcome], missing: Sequence[Trial]) -> str:
        """One line about a student that is finished.

        Args:
            trial: Which.
            outcomes: Of all that are finished, in the order in which that became known.
            missing: Those that are not.
        """
        own = outcomes[trial]
        score = "no score" if own.score is None else f"{100 * own.score:.2f}"
        done = f"{self.planned - len(missing)} of {self.planned}: {trial}: {score} in {own.seconds:.0f} s"
        if not missing:
            return f"{done}; all are finished"
        return f"{done}; {len(missing)} left, about {_duration(self._seconds_left(outcomes, missing))}"

    def _seconds_left(self, outcomes: Mapping[Trial, Outcome], missing: Sequence[Trial]) -> float:
        """By the mean of the same task, at the pace of all processes so far."""
        by_task: dict[str, list[float]] = {}
        for trial, outcome in outcomes.items():
            by_task.setdefault(trial.task, []).append(outcome.seconds)
        overall = fmean(outcome.seconds for outcome in outcomes.values())
        work = sum(fmean(by_task.get(trial.task, [overall])) for trial in missing)
        since = [outcome.seconds for outcome in list(outcomes.values())[self._finished_before :]]
        return work * (time.perf_counter() - self._started) / max(sum(since), 1e-9)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
