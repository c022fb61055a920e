"""What a sweep leaves for its reader: all trials as JSON, as a table and as a plot."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_distill.atomic_file import write_atomically
from hf_distill.sweep.search_space import Range
from hf_distill.sweep.trial import Trial, accuracy_standard_error, best_of

RESULTS_JSON = "sweep.json"
RESULTS_TABLE = "sweep.md"
RESULTS_PLOT = "sweep.png"


@dataclass(frozen=True)
class SweepResults:
    """The trials so far, and what their scores are of.

    Attributes:
        task: Its name.
        metric: Which the scores are of; higher is better.
        split: Whose rows were scored.
        rows: How many there are.
        seeds: Which each trial was trained with.
        learning_rate: Of trials that searched none.
        space: What was searched.
        trials: In their order.
    """

    task: str
    metric: str
    split: str
    rows: int
    seeds: list[int]
    learning_rate: float
    space: dict[str, Range]
    trials: list[Trial]

    @property
    def best(self) -> Trial | None:
        """The trial of the highest score, None if no trial has any."""
        return best_of(self.trials)

    def arguments(self, trial: Trial) -> dict[str, float]:
        """What a trial's students were trained with, by the name of the training argument."""
        return {"learning_rate": self.learning_rate, **training_values(trial.values)}

    def standard_error(self, trial: Trial) -> float | None:
        """Of the score, from the number of rows; None where the metric is not a share of the rows, or undefined."""
        if self.metric != "accuracy" or trial.score is None:
            return None
        return accuracy_standard_error(trial.score, self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as strict JSON can hold it."""
        trials = [
            {
                "number": trial.number,
                **self.arguments(trial),
                "score": trial.score,
                "standard_error": self.standard_error(trial),
                "scores": trial.scores,
                "seconds": trial.seconds,
            }
            for trial in self.trials
        ]
        best = self.best
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        space = {name: [searched.low, searched.high] for name, searched in self.space.items()}
        return {**values, "space": space, "best": best and best.number, "trials": trials}

    def save(self, folder: Path) -> None:
        """Write `sweep.json`, `sweep.md` and `sweep.png`; each appears whole or not at all."""
        from hf_distill.saved_figure import save_figure
        from hf_distill.sweep.plot import sweep_figure
        from hf_distill.sweep.table import sweep_table

        as_json = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / RESULTS_JSON, as_json + "\n")
        write_atomically(folder / RESULTS_TABLE, sweep_table(self))
        save_figure(sweep_figure(self), folder / RESULTS_PLOT)


def training_values(searched: dict[str, float]) -> dict[str, float]:
    """What a trial sets in the training arguments: the values searched, and the weight that is left for the labels."""
    return {**searched, "hard_target_weight": 1 - searched["soft_target_weight"]}


def as_options(values: dict[str, float]) -> str:
    """Training arguments as they are written on the command line, without rounding."""
    return " ".join(f"--{name} {value!r}" for name, value in values.items())
