"""A task: labelled texts to learn from and to compare on, and how answers to it are scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, Sequence, Value

from hf_distill.problem_type import IGNORE_INDEX, ProblemType
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
            ``fingerprint`` (SHA-256 over the labelled rows used); with `unlabelled` also ``unlabelled_fingerprint``.
        unlabelled: Rows that are learnt from a teacher alone: the columns of `train` but for ``label``. None without.
    """

    name: str
    train: Dataset
    evaluation: dict[str, Dataset]
    label_names: list[str] | None
    problem_type: str
    metrics: tuple[str, ...]
    primary_metric: str
    source: dict[str, Any]
    unlabelled: Dataset | None = None

    @property
    def num_labels(self) -> int:
        """Outputs that a model needs: one for each class, or one for a score."""
        return 1 if self.label_names is None else len(self.label_names)


def default_metrics(problem_type: str) -> tuple[str, ...]:
    """The metrics of a task that does not bring its own; the first of them is the primary one."""
    return _METRICS[problem_type]


def to_dataset(split: Split, labels: list[Any], problem_type: str) -> Dataset:
    """Put a split and its encoded labels into a data set in memory, so that no stale copy of a file is ever read."""
    return _with_labels(_texts(split), labels, problem_type)


def texts_only(split: Split) -> Dataset:
    """The same without labels."""
    texts = _texts(split)
    return Dataset.from_dict(texts, features=Features({name: Value("string") for name in texts}))


def with_missing_labels(rows: Dataset, problem_type: str, num_labels: int) -> Dataset:
    """Give rows that have none the label that stands for none.

    Args:
        rows: ``text`` and perhaps ``text_pair``.
        problem_type: As in `Task`.
        num_labels: Of the task.

    Returns:
        With ``label``: -100 where a row has one class, a vector of -100 where it has several labels, NaN for scores.
    """
    missing: Any = {SINGLE_LABEL: IGNORE_INDEX, MULTI_LABEL: [float(IGNORE_INDEX)] * num_labels}.get(
        problem_type, math.nan
    )
    return _with_labels(rows[:], [missing] * len(rows), problem_type)


def _texts(split: Split) -> dict[str, list[Any]]:
    return {"text": split.texts} if split.pairs is None else {"text": split.texts, "text_pair": split.pairs}


def _with_labels(texts: dict[str, list[Any]], labels: list[Any], problem_type: str) -> Dataset:
    features = {**{name: Value("string") for name in texts}, "label": _LABEL_FEATURES[problem_type]}
    return Dataset.from_dict({**texts, "label": labels}, features=Features(features))
