"""Teacher and student must mean the same by class number i."""

from __future__ import annotations

import re
from typing import Any

from hf_distill.errors import InputError

_PLACEHOLDER = re.compile(r"LABEL_\d+", re.IGNORECASE)


def label_names(model: Any) -> list[str]:
    """The names of a model's classes in the order of its logits."""
    id2label = {int(index): str(name) for index, name in model.config.id2label.items()}
    return [id2label.get(index, f"LABEL_{index}") for index in range(model.config.num_labels)]


def match_labels(student_labels: list[str], teacher_labels: list[str]) -> list[int] | None:
    """The teacher's class for each of the student's classes, by name, case aside.

    Placeholder names (``LABEL_0`` and so on) say nothing, so they match by index.

    Args:
        student_labels: In the order of the student's logits.
        teacher_labels: In the order of the teacher's logits.

    Returns:
        Indices such that ``teacher_logits[..., indices]`` is in the student's order; None if it already is.

    Raises:
        InputError: Different counts or names; the message prints both lists.

    Example:
        >>> match_labels(["negative", "positive"], ["POSITIVE", "NEGATIVE"])
        [1, 0]
    """
    if len(student_labels) != len(teacher_labels):
        raise _mismatch(student_labels, teacher_labels, "a different number of classes")
    if are_placeholders(student_labels) or are_placeholders(teacher_labels):
        return None
    student_names = [name.strip().casefold() for name in student_labels]
    teacher_names = [name.strip().casefold() for name in teacher_labels]
    if sorted(student_names) != sorted(teacher_names) or len(set(student_names)) < len(student_names):
        raise _mismatch(student_labels, teacher_labels, "different class names")
    if student_names == teacher_names:
        return None
    return [teacher_names.index(name) for name in student_names]


def are_placeholders(names: list[str]) -> bool:
    """Whether all names are ``LABEL_0`` and the like, which say nothing about the classes."""
    return all(_PLACEHOLDER.fullmatch(name) for name in names)


def _mismatch(student_labels: list[str], teacher_labels: list[str], what: str) -> InputError:
    return InputError(
        f"Student and teacher have {what}, so soft targets cannot be compared: the student has {student_labels}, the "
        f"teacher {teacher_labels}. Use a teacher of the same task, or correct id2label in the wrong config."
    )
