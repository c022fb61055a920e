"""Inputs that are drawn anew each time have no answer that could be stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hf_distill.errors import InputError
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

WAY_OUT = (
    "let masks and the like be drawn once for each row, with dataset.map, and use a collator that draws nothing; or "
    "use the teacher itself in place of a cache"
)


def refuse_random_collator(
    collate: Callable[[], Mapping[str, Any]], inputs: TeacherInputs, name: str, times: int = 3
) -> None:
    """Check that a collator makes the same of the same rows each time.

    Args:
        collate: Collates the same rows whenever it is called.
        inputs: What the teacher reads of the batch.
        name: Of the collator.
        times: How often it is asked: few short rows may happen to come out the same twice.

    Raises:
        InputError: It does not; the message says what changes and what to do.
    """
    first, *others = [collate() for _ in range(times)]
    for column in inputs.among(first):
        value = first[column]
        if isinstance(value, torch.Tensor) and not all(torch.equal(value, other[column]) for other in others):
            raise InputError(
                f"The collator ({name}) makes other {column} of the same rows each time (random masking or "
                f"augmentation), so what the teacher says to them cannot be stored: {WAY_OUT}."
            )
