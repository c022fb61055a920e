"""What the trainer asks of a teacher, be it live or stored, one or several."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from hf_distill.signals import Signals
from hf_distill.teachers.live_teacher import LiveTeacher

Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


class Teacher(Protocol):
    """Answers the batches that a student trains on."""

    @property
    def input_names(self) -> frozenset[str]:
        """Columns of the rows and entries of the batches that it reads."""

    def pair_with(self, student: nn.Module, compares_hidden_states: bool, tokenizer: Any = None) -> None:
        """Check that it can teach this student, and answer with the classes in the student's order from now on.

        Args:
            student: Unwrapped.
            compares_hidden_states: The objective looks at hidden states.
            tokenizer: What makes the student's input ids; None if unknown.

        Raises:
            InputError: They do not fit; the message says in what.
        """

    def prepare(self, accelerator: Accelerator, device: torch.device) -> None:
        """Get ready where the student trains."""

    def collator(self, collator: Collator) -> Collator:
        """A collator of training rows, with whatever this teacher adds to a batch."""

    def __call__(self, inputs: Mapping[str, Any], with_hidden_state: bool = False) -> Signals:
        """Answer a collated batch, without a gradient.

        Args:
            inputs: The batch on the training device.
            with_hidden_state: Also return the last hidden state.
        """


def as_teacher(teacher: nn.Module | Teacher) -> Teacher:
    """A model becomes a teacher that computes its answers while the student trains.

    A teacher is copied, without its model or its stored answers: which student it is paired with is its trainer's own,
    and several may train from one cache.
    """
    return LiveTeacher(teacher) if isinstance(teacher, nn.Module) else copy.copy(teacher)
