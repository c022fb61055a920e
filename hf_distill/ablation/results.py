"""What an ablation leaves for its reader: all scores as JSON, as tables and as a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from hf_distill.ablation.bench import TaskFacts
from hf_distill.ablation.statistics import Sample, paired, sample
from hf_distill.ablation.table import ablation_tables
from hf_distill.ablation.trial import Outcome
from hf_distill.atomic_file import write_atomically

RESULTS_JSON = "ablation.json"
RESULTS_TABLE = "ablation.md"
RESULTS_PLOT = "ablation.png"


@dataclass(frozen=True)
class AblationResults:
    """The scores so far, and what they are of.

    Attributes:
        tasks: Those of which something is known, in their order.
        variants: By name, in their order.
        seeds: Of each variant.
        reference: The variant to which differences are taken.
        outcomes: By task, variant and seed; those that are missing are not in it.
        chooses_best: Scores are those of the best checkpoint on the same rows.
        command: What gives all this.
    """

    tasks: Mapping[str, TaskFacts]
    variants: Sequence[str]
    seeds: Sequence[int]
    reference: str
    outcomes: Mapping[tuple[str, str, int], Outcome]
    chooses_best: bool = False
    command: Sequence[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many students of these tasks are not finished."""
        return len(self.tasks) * len(self.variants) * len(self.seeds) - len(self.outcomes)

    def scores(self, variant: str, task: str | None = None) -> list[float | None]:
        """Seed by seed; without a task the mean over all tasks, where each has a score. None where there is none."""
        if task is None:
            by_task = [self.scores(variant, name) for name in self.tasks]
            return [None if None in row else fmean(row) for row in zip(*by_task, strict=True)]
        outcomes = [self.outcomes.get((task, variant, seed)) for seed in self.seeds]
        return [None if outcome is None else outcome.score for outcome in outcomes]

    def score(self, variant: str, task: str | None = None) -> Sample | None:
        """Over the seeds."""
        return sample(self.scores(variant, task))

    def difference(self, variant: str, task: str | None = None) -> Sample | None:
        """To the reference, seed by seed."""
        return paired(self.scores(variant, task), self.scores(self.reference, task))

    def teacher(self, task: str | None = None) -> float | None:
        """The teacher's score; without a task its mean over all."""
        if task is not None:
            return self.tasks[task].teacher
        scores = [facts.teacher for facts in self.tasks.values()]
        return None if None in scores or not scores else fmean(score for score in scores if score is not None)

    def retention(self, variant: str, task: str | None = None) -> float | None:
        """The mean score over the teacher's; None where a ratio says nothing."""
        score, teacher = self.score(variant, task), self.teacher(task)
        return None if score is None or teacher is None or teacher <= 0 else score.mean / teacher

    def steps(self, variant: str, task: str) -> int | None:
        """The optimiser steps of a student; None if none is finished."""
        outcomes = (self.outcomes.get((task, variant, seed)) for seed in self.seeds)
        return next((outcome.steps for outcome in outcomes if outcome is not None and outcome.steps), None)

    def to_dict(self) -> dict[str, Any]:
        """Everything as strict JSON can hold it, scores as they are and not times 100."""
        places: list[str | None] = [*self.tasks, None]
        return {
            "tasks": {task: asdict(facts) for task, facts in self.tasks.items()},
            "seeds": list(self.seeds),
            "reference": self.reference,
            "missing": self.missing,
            "command": list(self.command),
            "variants": {
                variant: {
                    place or "mean": {
                        "scores": self.scores(variant, place),
                        **_summary(self.score(variant, place)),
                        "retention": self.retention(variant, place),
                        "difference": _summary(self.difference(variant, place)),
                        **({"steps": self.steps(variant, place)} if place is not None else {}),
                    }
                    for place in places
                }
                for variant in self.variants
            },
        }

    def save_tables(self, folder: Path) -> None:
        """Write `ablation.json` and `ablation.md`; each appears whole or not at all."""
        as_json = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / RESULTS_JSON, as_json + "\n")
        write_atomically(folder / RESULTS_TABLE, ablation_tables(self))

    def save_plot(self, folder: Path) -> None:
        """Write `ablation.png`, whole or not at all."""
        from hf_distill.ablation.plot import difference_figure
        from hf_distill.saved_figure import save_figure

        save_figure(difference_figure(self), folder / RESULTS_PLOT)


def _summary(found: Sample | None) -> dict[str, Any]:
    if found is None:
        return {"n": 0, "mean": None, "sd": None, "half_width": None}
    return {"n": len(found.values), "mean": found.mean, "sd": found.sd, "half_width": found.half_width}
