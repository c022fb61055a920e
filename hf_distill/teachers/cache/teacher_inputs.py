"""What a teacher reads of a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from hf_distill.model_wrappers import forward_parameters, unwrapped
from hf_distill.problem_type import classifies_whole_examples


@dataclass(frozen=True)
class TeacherInputs:
    """The columns that decide a teacher's answer.

    Attributes:
        names: What its forward takes, without the labels.
        reads_labels: Its decoder's inputs are made from the labels where a row has no ``decoder_input_ids``.
        is_encoder_decoder: The positions of its answers are the decoder's.
    """

    names: frozenset[str]
    reads_labels: bool
    is_encoder_decoder: bool

    @classmethod
    def of(cls, model: nn.Module) -> TeacherInputs:
        """Those of a model, wrapped or not."""
        model = unwrapped(model)
        names = forward_parameters(model) - {"labels"}
        config: Any = getattr(model, "config", None)
        is_encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
        makes_decoder_inputs = "decoder_input_ids" in names and not classifies_whole_examples(model)
        return cls(names, is_encoder_decoder and makes_decoder_inputs, is_encoder_decoder)

    def among(self, columns: Iterable[str]) -> list[str]:
        """The columns of a row that decide the answer, in alphabetical order."""
        columns = set(columns)
        labels = {"labels"} if self.reads_labels and "decoder_input_ids" not in columns else set()
        return sorted(columns & (self.names | labels))
