"""One student of an ablation: which it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_distill.ablation.variants import Variant


@dataclass(frozen=True)
class Trial:
    """Which student.

    Attributes:
        task: What it learns.
        variant: How it is made.
        seed: Its own.
    """

    task: str
    variant: Variant
    seed: int

    @property
    def place(self) -> str:
        """Its own below the ablation's folder."""
        return f"{self.task}/{self.variant.slug}/seed-{self.seed}"

    def __str__(self) -> str:
        """For messages."""
        return f"{self.task}, {self.variant.name}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came of a student.

    Attributes:
        score: None if the training diverged or the metric is not defined.
        steps: Optimiser steps of the whole training; None if it diverged.
        seconds: For making, training and scoring it.
        settings: What decided the score, beside the seed.
    """

    score: float | None
    steps: int | None
    seconds: float
    settings: dict[str, Any]
