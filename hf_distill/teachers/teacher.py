"""What the trainer asks of a teacher, be it live or stored, one or several."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from hf_distill.model_shape import ModelShape
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.signals import Signals
from hf_distill.teachers.live_teacher import LiveTeacher

Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


class Teacher(Protocol):
    """Answers the batches that a student trains on."""

    @property
    def input_names(self) -> frozenset[str]:
        """Columns of the rows and entries of the batches that it reads."""

    @property
    def shape(self) -> ModelShape:
        """How deep and how wide it is."""

    def pair_with(self, student: nn.Module, needs: SignalNeeds, tokenizer: Any = None) -> None:
        """Check that it can teach this student, and answer with the classes in the student's order from now on.

        Args:
            student: Unwrapped.
            needs: What the objective will look at beside its logits.
            tokenizer: What makes the student's input ids; None if unknown.

        Raises:
            InputError: They do not fit; the message says in what.
        """

    def prepare(self, accelerator: Accelerator, device: torch.device) -> None:
        """Get ready where the student trains."""

    def collator(self, collator: Collator) -> Collator:
        """A collator of training rows, with whatever this teacher adds to a batch."""

    def __call__(self, inputs: Mapping[str, Any], needs: SignalNeeds = NOTHING_ELSE) -> Signals:
        """Answer a collated batch, without a gradient.

        Args:
            inputs: The batch on the training device.
            needs: What to hand over beside the logits.
        """


def as_teacher(teacher: nn.Module | Teacher) -> Teacher:
    """A model becomes a teacher that computes its answers while the student trains.

    A teacher is copied, without its model or its stored answers: which student it is paired with is its trainer's own,
    and several may train from one cache.
    """
    return LiveTeacher(teacher) if isinstance(teacher, nn.Module) else copy.copy(teacher)
