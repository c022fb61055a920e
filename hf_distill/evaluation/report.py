"""The one report in which a student stands beside its teacher."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_distill.atomic_file import write_atomically
from hf_distill.evaluation.markdown import report_to_markdown, summary
from hf_distill.evaluation.publishable import publishable
from hf_distill.evaluation.retention import Metrics

REPORT_JSON = "distillation_report.json"
REPORT_MARKDOWN = "distillation_report.md"


@dataclass(frozen=True)
class ModelFigures:
    """What was counted and measured of one model.

    Attributes:
        parameters: Number of weights.
        size_mb: The weights on disk, in MB of 1e6 bytes.
        metrics: Split -> metric -> value; ``None`` where the metric is undefined.
        latency_ms_median: Milliseconds for one example alone.
        latency_ms_p95: The same, which 95 % of the examples stay under.
        throughput: Examples a second at batch 32.
    """

    parameters: int
    size_mb: float
    metrics: Metrics
    latency_ms_median: float
    latency_ms_p95: float
    throughput: float

    def __post_init__(self) -> None:
        """Make undefined scores ``None``, which strict JSON can hold."""
        object.__setattr__(self, "metrics", publishable(self.metrics))


@dataclass(frozen=True)
class DistillationReport:
    """Teacher and student on the same rows, and how the one was made from the other.

    The report is meant to be published: absolute paths and tokens are taken out of every text when it is made.

    Attributes:
        task: Name of the task.
        primary_metric: The metric of the headline.
        teacher_name: A Hub id, or the base name of a local folder.
        teacher_revision: The commit on the Hub that was loaded; ``None`` says that the teacher is a local folder.
        student_layers: Stack -> the teacher's layers that the student started from; ``None`` if from other weights.
        data: Where the rows came from and how many there are.
        objective: Temperature and weights of the terms.
        training: Hyperparameters, seed, processes, seconds.
        environment: Versions and device, see `environment`.
        teacher: The teacher's figures.
        student: The student's figures.
        baseline: Figures of the same student fine-tuned without the teacher.
        retention: Split -> metric -> student score / teacher score.
        agreement: Split -> share of rows with the same predicted class (regression: Pearson's r).
    """

    task: str
    primary_metric: str
    teacher_name: str
    teacher_revision: str | None
    student_layers: dict[str, list[int]] | None
    data: dict[str, Any]
    objective: dict[str, Any]
    training: dict[str, Any]
    environment: dict[str, Any]
    teacher: ModelFigures
    student: ModelFigures
    baseline: ModelFigures | None
    retention: Metrics
    agreement: dict[str, float | None]

    def __post_init__(self) -> None:
        """Keep what may be published."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, ModelFigures):
                object.__setattr__(self, field.name, publishable(value))

    def to_dict(self) -> dict[str, Any]:
        """Everything as strict JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DistillationReport":
        """The inverse of `to_dict`."""
        models = {name: values[name] and ModelFigures(**values[name]) for name in ("teacher", "student", "baseline")}
        return cls(**{**values, **models})

    @classmethod
    def load(cls, folder: str | Path) -> "DistillationReport":
        """Read the report that `save` wrote into the folder."""
        return cls.from_dict(json.loads((Path(folder) / REPORT_JSON).read_text(encoding="utf-8")))

    def to_markdown(self) -> str:
        """The report as a person reads it, in tables."""
        return report_to_markdown(self)

    def summary(self) -> str:
        """The headline and the tables of quality and cost, in Markdown."""
        return summary(self)

    def save(self, folder: str | Path) -> None:
        """Write `distillation_report.json` and `distillation_report.md`; each appears whole or not at all."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        as_json = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(Path(folder) / REPORT_JSON, as_json + "\n")
        write_atomically(Path(folder) / REPORT_MARKDOWN, self.to_markdown())
