"""What is read before a training: labels and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset
from transformers.trainer_utils import has_length

from hf_distill.checking.model_facts import ModelFacts
from hf_distill.losses.counted_items import has_label
from hf_distill.problem_type import classifies_whole_examples, infer_problem_type
from hf_distill.row_lengths import are_rows_stored, row_lengths
from hf_distill.teachers.label_matching import match_labels


@dataclass(frozen=True)
class LabelFacts:
    """The classes of both models.

    Attributes:
        student: In the order of its logits; None for one that is no classifier.
        teacher: The same of the teacher; None if unknown, too.
        order: For each class of the student the teacher's; None where both are in the same order.
        problem_type: Which losses fit; None for models that do not answer for whole examples.
    """

    student: tuple[str, ...] | None
    teacher: tuple[str, ...] | None
    order: tuple[int, ...] | None
    problem_type: str | None

    @classmethod
    def of(
        cls, student: ModelFacts, teacher: ModelFacts | None, model: Any, labels: torch.Tensor | None
    ) -> LabelFacts:
        """Of a pair.

        Args:
            student: Its facts.
            teacher: The same of the teacher.
            model: The student, unwrapped.
            labels: Some labels of its rows.

        Raises:
            InputError: They have different classes.
        """
        of_teacher = None if teacher is None else teacher.labels
        order = None
        if student.labels is not None and of_teacher is not None:
            matched = match_labels(list(student.labels), list(of_teacher))
            order = None if matched is None else tuple(matched)
        whole = classifies_whole_examples(model)
        return cls(student.labels, of_teacher, order, infer_problem_type(model, labels).value if whole else None)


@dataclass(frozen=True)
class RowFacts:
    """The rows of a training.

    Attributes:
        train: How many there are to learn from; None if there are none or they come one after the other.
        unlabelled: How many of them have no label; None where that is unknown.
        evaluation: How many there are of each split.
        longest: Tokens of the longest training row, after it was cut; None if unknown.
        mean: Tokens of a row, on average.
        full: How many are as long as the longest, and so may have been cut.
    """

    train: int | None
    unlabelled: int | None = None
    evaluation: Mapping[str, int] = field(default_factory=dict)
    longest: int | None = None
    mean: float | None = None
    full: int = 0

    @classmethod
    def of(cls, train: Any, evaluation: Any, model: Any) -> RowFacts:
        """Of data sets as ``Trainer`` takes them; rows that are computed when they are asked for are not measured."""
        splits = evaluation if isinstance(evaluation, dict) else {"evaluation": evaluation}
        counts = {name: len(rows) for name, rows in splits.items() if rows is not None and has_length(rows)}
        if train is None or not has_length(train):
            return cls(None, evaluation=counts)
        lengths = (row_lengths(train) if are_rows_stored(train) else None) or []
        longest = max(lengths, default=None)
        return cls(
            train=len(train),
            unlabelled=_count_unlabelled(train, model),
            evaluation=counts,
            longest=longest,
            mean=sum(lengths) / len(lengths) if lengths else None,
            full=lengths.count(longest) if longest is not None else 0,
        )


def stored_labels(rows: Any, count: int | None = None) -> torch.Tensor | None:
    """The labels of the first rows of a data set, or of all; None where they are not equally many numbers."""
    if not isinstance(rows, Dataset) or not are_rows_stored(rows):
        return None
    name = next((name for name in ("labels", "label") if name in rows.column_names), None)
    if name is None:
        return None
    values: Sequence[Any] = rows[name][: len(rows) if count is None else count]
    try:
        return torch.as_tensor(values)
    except (ValueError, TypeError, RuntimeError):
        return None


def _count_unlabelled(rows: Any, model: Any) -> int | None:
    labels = stored_labels(rows) if classifies_whole_examples(model) else None
    if labels is None or not len(labels):
        return None
    found = has_label(labels, infer_problem_type(model, labels))
    return int((~found.flatten(1).any(1) if found.dim() > 1 else ~found).sum())
