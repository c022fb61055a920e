"""What labels mean: classes, scores or several labels a row, told from how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.utils import logging

from hf_distill.errors import InputError
from hf_distill.tasks.split import Split
from hf_distill.tasks.task import MULTI_LABEL, REGRESSION, SINGLE_LABEL

logger = logging.get_logger(__name__)

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class LabelScheme:
    """How labels are turned into what a model learns.

    Attributes:
        problem_type: As in `hf_distill.tasks.task.Task`.
        names: Of the classes in order; None for scores.
        index: From a label as it is written to its class; None for scores and for vectors of 0 and 1.
    """

    problem_type: str
    names: list[str] | None = None
    index: dict[Hashable, int] | None = None

    def encode(self, split: Split) -> list[Any]:
        """Turn a split's labels into class indices, scores (to float32's precision) or vectors of 0.0 and 1.0.

        Raises:
            InputError: If a label is missing, of another kind or none of the known ones, naming it and its place.
        """
        encode = {SINGLE_LABEL: self._class, REGRESSION: self._score, MULTI_LABEL: self._vector}[self.problem_type]
        return [encode(split, index, label) for index, label in enumerate(split.labels)]

    def _class(self, split: Split, index: int, label: Any) -> int:
        return self._known(split, index, read_label(split, index)[1])

    def _score(self, split: Split, index: int, label: Any) -> float:
        kind, value = read_label(split, index)
        if kind not in ("integer", "decimal"):
            raise InputError(
                f"{split.place(index)}: the label {label!r} is no number, but the training labels are scores; "
                "correct it or remove the row."
            )
        return float(np.float32(value))

    def _vector(self, split: Split, index: int, label: Any) -> list[float]:
        names = self.names or []
        if read_label(split, index)[0] != "list":
            raise InputError(
                f"{split.place(index)}: the label {label!r} is no list, but the training labels are lists; "
                "write a list of labels in every row."
            )
        if self.index is not None:
            on = {self._known(split, index, name) for name in label}
            return [float(position in on) for position in range(len(names))]
        if len(label) != len(names) or any(value not in (0, 1) for value in label):
            raise InputError(
                f"{split.place(index)}: the label {label!r} is not a list of {len(names)} zeros and ones as in the "
                "first training row; write one 0 or 1 for each label, or a list of the labels' names."
            )
        return [float(value) for value in label]

    def _known(self, split: Split, index: int, label: Hashable) -> int:
        known = self.index or {}
        if label not in known:
            shown = ", ".join(repr(name) for name in list(known)[:20]) + (", ..." if len(known) > 20 else "")
            raise InputError(
                f"{split.place(index)}: the label {label!r} is none of those to learn ({shown}), so no answer can "
                "be right; correct it, or add training rows that have it."
            )
        return known[label]


def class_names(names: list[str]) -> LabelScheme:
    """A scheme for labels that are already the indices of named classes."""
    return LabelScheme(SINGLE_LABEL, names, {position: position for position in range(len(names))})


def is_missing(label: Any) -> bool:
    """Whether there is no label: None, NaN, or nothing but blanks. An empty list is one: that no label is on."""
    text = label.strip() if isinstance(label, str) else label
    return text is None or text == "" or (isinstance(text, str) and text.lower() == "nan") or text != text


def read_label(split: Split, index: int) -> tuple[str, Any]:
    """Tell the kind of one label: ``"integer"``, ``"decimal"``, ``"word"`` or ``"list"``, and its value.

    A number in a text file counts as the number it spells.

    Raises:
        InputError: If there is no label, or it is something else.
    """
    label = split.labels[index]
    text = label.strip() if isinstance(label, str) else label
    if is_missing(label):
        raise InputError(f"{split.place(index)}: the label is missing; fill it in or remove the row.")
    if isinstance(text, list) and all(isinstance(element, (str, int, float)) for element in text):
        return "list", text
    if isinstance(text, bool):
        return "word", str(text).lower()
    if isinstance(text, int) or (isinstance(text, str) and _INTEGER.fullmatch(text)):
        return "integer", int(text)
    if isinstance(text, float) or (isinstance(text, str) and _DECIMAL.fullmatch(text)):
        if not math.isfinite(float(text)):
            raise InputError(f"{split.place(index)}: the label {label!r} is not finite; correct it or remove the row.")
        return "decimal", float(text)
    if isinstance(text, str):
        return "word", text
    raise InputError(
        f"{split.place(index)}: the label {label!r} is no word, no number and no list of them; write one of these."
    )


def infer_scheme(split: Split) -> LabelScheme:
    """Tell from the training labels what they mean.

    Words are classes, sorted. Whole numbers are classes in numeric order; where they count from 0 without a gap they
    carry no names and get the placeholders ``LABEL_0``, ... Numbers of which at least one is written with a decimal
    point or an exponent are scores. Lists are several labels a row: lists of names, or lists of one 0 or 1 for each
    label.

    Args:
        split: The training rows, at least one.

    Raises:
        InputError: If a label is missing, or labels of different kinds are mixed.
    """
    first: dict[str, int] = {}
    values = []
    for index in range(len(split)):
        kind, value = read_label(split, index)
        first.setdefault(kind, index)
        values.append(value)
    if set(first) == {"list"}:
        scheme = _infer_lists(split)
    elif set(first) == {"integer", "decimal"} or set(first) == {"decimal"}:
        scheme = LabelScheme(REGRESSION)
    elif len(first) == 1:
        scheme = _classes(sorted(set(values)))
    else:
        raise InputError(_mixed(split, first))
    shown = "scores" if scheme.names is None else f"{len(scheme.names)} classes"
    logger.info(f"{split.origin}: the labels are read as {shown} ({scheme.problem_type}).")
    return scheme


def _mixed(split: Split, first: dict[str, int]) -> str:
    kinds = {"integer": "number", "decimal": "number", "word": "word", "list": "list"}
    first_of: dict[str, int] = {}
    for kind, index in first.items():
        first_of.setdefault(kinds[kind], index)
    (one, earlier), (other, later) = list(first_of.items())[:2]
    return (
        f"{split.place(later)}: the label {split.labels[later]!r} is a {other} but {split.labels[earlier]!r} in "
        f"{split.unit} {split.numbers[earlier]} is a {one}, so classes cannot be told from scores; write only words, "
        "only numbers or only lists."
    )


def _classes(keys: list[Any]) -> LabelScheme:
    if keys == list(range(len(keys))):
        names = [f"LABEL_{key}" for key in keys]
    else:
        names = [str(key) for key in keys]
    return LabelScheme(SINGLE_LABEL, names, {key: position for position, key in enumerate(keys)})


def _infer_lists(split: Split) -> LabelScheme:
    elements = {element for label in split.labels for element in label}
    if all(isinstance(element, str) for element in elements):
        names = sorted(elements)
        scheme = LabelScheme(MULTI_LABEL, names, {name: position for position, name in enumerate(names)})
    else:
        scheme = LabelScheme(MULTI_LABEL, [f"LABEL_{position}" for position in range(len(split.labels[0]))])
    if len(scheme.names or []) < 2:
        raise InputError(
            f"{split.origin}: the lists of labels know only {len(scheme.names or [])} label, and a multi-label task "
            "needs two or more; write lists of names, or of one 0 or 1 for each label."
        )
    return scheme
