"""What a collator makes of one row, by which two collators that a teacher would answer differently are told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from hf_distill.teachers.cache.answering import AnsweringTeacher
from hf_distill.teachers.cache.keys import row_key
from hf_distill.teachers.cache.spans import Spans
from hf_distill.teachers.cache.teacher_rows import TeacherRows


def collated_sample(answering: AnsweringTeacher, rows: TeacherRows, collator: Callable) -> dict[str, str]:
    """The ``key`` of the longest row and a hash of what the teacher ``sees`` of it, in hexadecimal digits."""
    number = rows.sample
    return {"key": rows.keys[number].tobytes().hex(), "sees": _seen(answering, rows, number, collator)}


def same_sample(
    found: Mapping[str, str], answering: AnsweringTeacher, rows: TeacherRows, collator: Callable
) -> Mapping[str, str]:
    """What the row that was found would give now; what was found if it is not among the rows."""
    places = np.flatnonzero((rows.keys == np.frombuffer(bytes.fromhex(found["key"]), np.uint8)).all(axis=1))
    if not len(places):
        return found
    return {**found, "sees": _seen(answering, rows, places[0], collator)}


def _seen(answering: AnsweringTeacher, rows: TeacherRows, number: int, collator: Callable) -> str:
    batch = rows.collated(np.array([number]), collator)
    seen: dict[str, Tensor] = {}
    for name, value in answering.seen(batch).items():
        if not isinstance(value, Tensor):
            continue
        is_decoders = answering.inputs.is_encoder_decoder and name.startswith("decoder_")
        spans = Spans.of(batch, is_decoders)
        if spans is not None and value.shape[:2] == spans.inside.shape:
            value = value[spans.inside]
        # A mask that hides nothing says no more than none.
        if not (name.endswith("attention_mask") and bool(value.bool().all())):
            seen[name] = value
    return row_key(seen, answering.inputs).hex()
