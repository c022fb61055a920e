"""Which parts of a batch count, so that every term is an average over what is really there.

Padding, labels of -100 and rows that a sampler repeats to even out the processes count nowhere. The same rule gives
the masks of one micro-batch and, summed over micro-batches and processes, the divisors of the whole optimiser step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hf_distill.problem_type import IGNORE_INDEX, ProblemType

EXAMPLE_MASK = "example_mask"
"""Key under which a batch carries ``(batch,)`` booleans, False for rows that a sampler repeated."""


class ItemCounts(NamedTuple):
    """How much counts, each a scalar tensor."""

    examples: Tensor
    targets: Tensor
    answers: Tensor
    positions: Tensor
    predictions: Tensor


@dataclass(frozen=True)
class CountedItems:
    """The masks of one micro-batch, all boolean.

    Attributes:
        examples: ``(batch,)``.
        targets: The shape of the labels, shifted for a causal language model: where there is a label. None without
            labels.
        answers: The same shape: where the teacher's soft targets count. As ``targets``, and all of an example that has
            no label where one label is due for each example: a teacher answers for it all the same.
        positions: ``(batch, sequence)``, the attended positions; None where a batch has no sequence of tokens.
        predictions: ``(batch, sequence)``, where the model predicts a token: as ``positions``, or one shorter for a
            causal language model.
    """

    examples: Tensor
    targets: Tensor | None
    answers: Tensor | None
    positions: Tensor | None
    predictions: Tensor | None

    def counts(self) -> ItemCounts:
        """How many of each there are; 0 for those that are None."""
        nothing = self.examples.new_zeros((), dtype=torch.long)
        masks = (self.examples, self.targets, self.answers, self.positions, self.predictions)
        return ItemCounts(*(nothing if mask is None else mask.sum() for mask in masks))


def find_counted_items(
    batch: Mapping[str, Any], problem_type: ProblemType, shifts_labels: bool, is_encoder_decoder: bool
) -> CountedItems:
    """Read off a batch what counts in it.

    Args:
        batch: The collated batch, on any device.
        problem_type: Decides whether -100 is a missing label or a score; a missing score is NaN.
        shifts_labels: The model predicts token i + 1 at position i.
        is_encoder_decoder: Positions are the decoder's.
    """
    labels = batch.get("labels")
    first = next(value for value in batch.values() if isinstance(value, Tensor))
    examples = batch.get(EXAMPLE_MASK)
    if examples is None:
        examples = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)

    targets = answers = None
    if labels is not None:
        if shifts_labels:
            labels = labels[..., 1:]
        targets = has_label(labels, problem_type)
        answers = (targets | _in_unlabelled_examples(targets, problem_type)) & _like(examples, targets)
        targets = targets & _like(examples, targets)

    positions = attended_positions(batch, is_encoder_decoder)
    predictions = None
    if positions is not None:
        positions = positions & _like(examples, positions)
        predictions = positions[:, :-1] & positions[:, 1:] if shifts_labels else positions
    return CountedItems(examples, targets, answers, positions, predictions)


def has_label(labels: Tensor, problem_type: ProblemType) -> Tensor:
    """Where there is a label: not -100, and for scores, of which -100 may be one, not NaN."""
    return ~labels.isnan() if problem_type is ProblemType.REGRESSION else labels != IGNORE_INDEX


def _in_unlabelled_examples(targets: Tensor, problem_type: ProblemType) -> Tensor:
    """Where an example has no label at all, of tasks with one label, or one set of them, for each example."""
    by_token = targets.dim() > 1 and problem_type is ProblemType.SINGLE_LABEL
    if by_token or targets.dim() > 2:
        return torch.zeros_like(targets)
    labelled = targets if targets.dim() == 1 else targets.any(-1, keepdim=True)
    return (~labelled).expand_as(targets)


def attended_positions(batch: Mapping[str, Any], is_encoder_decoder: bool) -> Tensor | None:
    """``(batch, sequence)`` booleans, True where there is a token; None where a batch has no sequence of tokens.

    Args:
        batch: The collated batch.
        is_encoder_decoder: Positions are the decoder's.
    """
    labels, decoder_inputs = batch.get("labels"), batch.get("decoder_input_ids")
    if is_encoder_decoder:
        if "decoder_attention_mask" in batch:
            return batch["decoder_attention_mask"].bool()
        if labels is not None and labels.dim() == 2 and not labels.is_floating_point():
            return labels != IGNORE_INDEX
        if decoder_inputs is not None:
            return torch.ones_like(decoder_inputs, dtype=torch.bool)
    mask = batch.get("attention_mask")
    if mask is not None and mask.dim() == 2:
        return mask.bool()
    tokens = batch.get("input_ids")
    return None if tokens is None else torch.ones_like(tokens, dtype=torch.bool)


def _like(examples: Tensor, other: Tensor) -> Tensor:
    """``(batch,)`` with as many dimensions as ``other``."""
    return examples.view(-1, *[1] * (other.dim() - 1))
