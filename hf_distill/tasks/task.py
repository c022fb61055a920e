"""A task: labelled texts to learn from and to compare on, and how answers to it are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, Sequence, Value

from hf_distill.problem_type import ProblemType
from hf_distill.tasks.split import Split

SINGLE_LABEL = ProblemType.SINGLE_LABEL.value
MULTI_LABEL = ProblemType.MULTI_LABEL.value
REGRESSION = ProblemType.REGRESSION.value

_METRICS = {
    SINGLE_LABEL: ("accuracy", "f1"),
    MULTI_LABEL: ("f1", "accuracy"),
    REGRESSION: ("spearman", "pearson"),
}
_LABEL_FEATURES = {
    SINGLE_LABEL: Value("int64"),
    MULTI_LABEL: Sequence(Value("float32")),
    REGRESSION: Value("float32"),
}


@dataclass(frozen=True)
class Task:
    """Labelled texts and how answers to them are scored.

    Attributes:
        name: ``"sst2"``, ``"mnli"``, ..., the name of a data set, or a file's stem.
        train: Columns ``text``, ``text_pair`` for pairs of texts, and ``label``: a class index, a score, or for
            multi-label tasks a vector of 0.0 and 1.0.
        evaluation: By name of the split, in the columns of `train`. MNLI has two.
        label_names: In the order of the class indices; None for regression.
        problem_type: As in a model's configuration: ``"single_label_classification"``,
            ``"multi_label_classification"`` or ``"regression"``.
        metrics: Names of modules in `hf_distill.metrics`.
        primary_metric: The one of them that a single figure is taken from.
        source: Where the rows came from, fit for JSON and free of paths: ``dataset`` and ``config`` for a data set of
            the Hub, ``files`` for what was read from disk, ``rows`` (used and available in each split) and
            ``fingerprint`` (SHA-256 over the rows used).
    """

    name: str
    train: Dataset
    evaluation: dict[str, Dataset]
    label_names: list[str] | None
    problem_type: str
    metrics: tuple[str, ...]
    primary_metric: str
    source: dict[str, Any]

    @property
    def num_labels(self) -> int:
        """Outputs that a model needs: one for each class, or one for a score."""
        return 1 if self.label_names is None else len(self.label_names)


def default_metrics(problem_type: str) -> tuple[str, ...]:
    """The metrics of a task that does not bring its own; the first of them is the primary one."""
    return _METRICS[problem_type]


def to_dataset(split: Split, labels: list[Any], problem_type: str) -> Dataset:
    """Put a split and its encoded labels into a data set in memory, so that no stale copy of a file is ever read."""
    columns: dict[str, list[Any]] = {"text": split.texts}
    features = {"text": Value("string")}
    if split.pairs is not None:
        columns["text_pair"] = split.pairs
        features["text_pair"] = Value("string")
    features["label"] = _LABEL_FEATURES[problem_type]
    return Dataset.from_dict({**columns, "label": labels}, features=Features(features))
