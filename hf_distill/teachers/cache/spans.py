"""Answers for each token: stored without the padding, put back at whatever padding a later batch has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_distill.losses.counted_items import attended_positions
from hf_distill.problem_type import IGNORE_INDEX


@dataclass(frozen=True)
class Spans:
    """Where the rows of a batch have their tokens: from the first attended position to the last.

    Attributes:
        inside: ``(batch, sequence)`` booleans.
    """

    inside: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Any], is_encoder_decoder: bool) -> Spans | None:
        """Those of a collated batch; None where it has no sequence of tokens."""
        attended = attended_positions(batch, is_encoder_decoder)
        if attended is None:
            return None
        seen_from_left, seen_from_right = attended.cumsum(1) > 0, attended.flip(1).cumsum(1).flip(1) > 0
        return cls(seen_from_left & seen_from_right)

    @property
    def lengths(self) -> Tensor:
        """``(batch,)`` integers."""
        return self.inside.sum(1)

    @property
    def tokens(self) -> Tensor:
        """``(tokens,)`` integers: the places of all rows' tokens among ``batch * sequence``."""
        return self.inside.flatten().nonzero().squeeze(1)

    def fit(self, values: Tensor) -> bool:
        """Whether there is one value for each position."""
        return values.dim() >= 3 and values.shape[:2] == self.inside.shape

    def put_back(self, values: Tensor) -> Tensor:
        """``(batch, sequence, ...)`` with zeros around the tokens, out of ``(tokens, ...)``."""
        padded = values.new_zeros(*self.inside.shape, *values.shape[1:])
        padded[self.inside] = values
        return padded

    def answer_all_labels(self, batch: Mapping[str, Any], predicts_next_token: bool) -> bool:
        """Whether the positions that answer for the tokens with a label all lie inside.

        Args:
            batch: The collated batch.
            predicts_next_token: Each token is answered for by the position before it.
        """
        labels = batch.get("labels")
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != self.inside.shape:
            return True
        labelled, inside = labels != IGNORE_INDEX, self.inside
        if predicts_next_token:
            labelled, inside = labelled[:, 1:], inside[:, :-1]
        return not bool((labelled & ~inside).any())
