"""What a run knows of its models and rows that its trainer does not."""

from __future__ import annotations

from dataclasses import dataclass

from hf_distill.checking.model_facts import ModelFacts


@dataclass(frozen=True)
class Background:
    """For :func:`~hf_distill.checking.check`.

    Attributes:
        teacher: Of a teacher that is in memory no more, since a cache holds its answers.
        tokenizers: How those of teacher and student compare, in words.
        notes: Anything else to be told, a line each.
        reason_for_no_batch: Why a batch cannot be tried; empty where it can.
        has_untrained_head: The teacher's answers are noise as yet, so that nothing is to be read from their share.
    """

    teacher: ModelFacts | None = None
    tokenizers: str = ""
    notes: tuple[str, ...] = ()
    reason_for_no_batch: str = ""
    has_untrained_head: bool = False
