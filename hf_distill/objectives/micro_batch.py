"""What a term of the objective knows of the micro-batch at hand, and how it averages over what counts there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hf_distill.errors import InputError
from hf_distill.losses.counted_items import CountedItems, ItemCounts
from hf_distill.objectives.whole_step import WholeStep
from hf_distill.problem_type import ProblemType


@dataclass(frozen=True)
class MicroBatch:
    """One share of an optimiser step.

    Attributes:
        labels: Aligned with the logits; None if there are none.
        counted: What counts in it.
        totals: What counts in the whole optimiser step, over all micro-batches and processes.
        problem_type: Which losses fit.
        is_causal: Student and teacher attend to earlier positions alone.
        projections: By name, from the student's width to the teacher's.
        whole_step: The examples of the other micro-batches and processes.
    """

    labels: Tensor | None
    counted: CountedItems
    totals: ItemCounts
    problem_type: ProblemType
    is_causal: bool = False
    projections: Mapping[str, nn.Module] = field(default_factory=dict)
    whole_step: WholeStep = field(default_factory=WholeStep)

    def average_over_answers(self, values: Tensor) -> Tensor:
        """This share of the step's average over the answers of the models.

        Those are the answers to what has a label, or to examples that have none; without labels at all they are the
        predicted tokens, or else the examples.

        Args:
            values: One for each answer, or several, which are averaged.
        """
        mask, total = self._answers(values)
        return masked_sum(values, mask) / total.clamp(min=1)

    def answers_that_count(self, logits: Tensor) -> Tensor:
        """``(batch, [sequence])`` booleans for logits ``(batch, [sequence,] num_classes)``."""
        return self._answers(logits[..., 0])[0].view(logits.shape[:-1])

    def _answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        counted, totals = self.counted, self.totals
        if counted.answers is not None:
            return counted.answers, totals.answers
        # Only exclusive classes are given token by token: several labels of an example may be as many as its tokens.
        by_token = counted.predictions if self.problem_type is ProblemType.SINGLE_LABEL else None
        if by_token is not None and by_token.shape == values.shape:
            return by_token, totals.predictions
        return counted.examples, totals.examples

    def average_over_targets(self, values: Tensor) -> Tensor:
        """This share of the step's average over the labels."""
        if self.counted.targets is None:
            raise ValueError("There are no labels to average over.")
        return masked_sum(values, self.counted.targets) / self.totals.targets.clamp(min=1)

    def average_over_positions(self, values: Tensor) -> Tensor:
        """This share of the step's average over the attended positions; over the examples where they have none.

        Args:
            values: ``(batch, sequence)``, or ``(batch, ...)`` where there is no sequence of tokens.
        """
        positions = self.counted.positions
        if positions is not None and positions.shape == values.shape:
            return masked_sum(values, positions) / self.totals.positions.clamp(min=1)
        return self.average_over_examples(values)

    def average_over_examples(self, values: Tensor) -> Tensor:
        """This share of the step's average over the examples; what else ``values`` has is averaged first."""
        return masked_sum(values, self.counted.examples) / self.totals.examples.clamp(min=1)

    def mean_over_positions(self, states: Tensor) -> Tensor:
        """``(batch, width)`` of ``(batch, sequence, width)``, over the attended positions.

        Feature maps ``(batch, width, height, ...)`` are averaged over all of them.
        """
        if states.dim() > 3:
            return states.flatten(2).mean(-1)
        positions = self._positions_of(states)
        if positions is None:
            return states.mean(1)
        mask = positions[..., None]
        return torch.where(mask, states, 0).sum(1) / mask.sum(1).clamp(min=1)

    def first_position(self, states: Tensor) -> Tensor:
        """``(batch, width)`` of ``(batch, sequence, width)``: at the first attended position.

        Raises:
            InputError: These are feature maps, which have no first position.
        """
        if states.dim() > 3:
            raise InputError(
                f"Hidden states of shape {tuple(states.shape)} are feature maps, which have no first token: set "
                "contrast_pooling to mean."
            )
        positions = self._positions_of(states)
        if positions is None:
            return states[:, 0]
        first = positions.int().argmax(1)
        return states.take_along_dim(first[:, None, None], 1).squeeze(1)

    def attended_keys(self, sequence: int, device: torch.device) -> Tensor:
        """``(batch or 1, 1, sequence or 1, sequence)`` booleans: which position may look at which."""
        positions = self.counted.positions
        if positions is not None and positions.shape[1] == sequence:
            keys = positions[:, None, None, :]
        else:
            keys = torch.ones(1, 1, 1, sequence, dtype=torch.bool, device=device)
        if self.is_causal:
            keys = keys & torch.ones(sequence, sequence, dtype=torch.bool, device=device).tril()
        return keys

    def _positions_of(self, states: Tensor) -> Tensor | None:
        positions = self.counted.positions
        return positions if positions is not None and positions.shape == states.shape[:2] else None


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum where ``mask`` is true; dimensions that only ``values`` has are averaged first."""
    if values.numel() == mask.numel():
        values = values.reshape(mask.shape)
    elif values.dim() > mask.dim():
        values = values.flatten(mask.dim()).mean(-1)
    return torch.where(mask, values, 0).sum()
