"""What a check found, as facts and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hf_distill.checking import sections
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.checking.objective_facts import StageFacts
from hf_distill.checking.one_batch import BatchFacts
from hf_distill.checking.reading_facts import LabelFacts, RowFacts
from hf_distill.checking.term_costs import BatchShape


@dataclass(frozen=True)
class CheckReport:
    """All that is known of a training before it begins.

    Attributes:
        student: Its facts.
        teacher: The same of the teacher, of the first of several; None without one.
        labels: The classes of both.
        rows: Of the training and the evaluation.
        stages: What the student learns from, one after the other.
        batch_shape: The largest batch, for which memory is counted; None if unknown.
        cache_bytes: What a cache of the teacher would store for an average row; None if unknown.
        projections: By name, from and to which width.
        batch: What one batch gave; None if it was left out.
        reason_for_no_batch: Why.
        seed: From which batch and dropout were drawn.
        tokenizers: How the two compare; empty if unknown.
        notes: Anything else.
        warnings: What may surprise, a line each.
    """

    student: ModelFacts
    teacher: ModelFacts | None
    labels: LabelFacts
    rows: RowFacts
    stages: tuple[StageFacts, ...]
    batch_shape: BatchShape | None
    cache_bytes: float | None
    projections: Mapping[str, tuple[int, int]]
    batch: BatchFacts | None
    reason_for_no_batch: str
    seed: int
    tokenizers: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Laid out for 100 columns."""
        parts = [
            sections.models(self.student, self.teacher, self.rows.longest),
            sections.reading(self.labels, self.rows, self.tokenizers, self.notes),
            sections.layers(self.student, self.teacher, self.stages),
            sections.objective(self.stages, self.batch_shape, self.projections),
            sections.cache(self.cache_bytes, self.rows.train),
            sections.batch(self.batch, self.reason_for_no_batch, self.seed),
            sections.verdict(self.warnings),
        ]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)
