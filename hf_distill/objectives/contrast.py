"""How the teacher tells the examples of a step apart as target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.angle_relation_loss import angle_relation_loss
from hf_distill.losses.distance_relation_loss import distance_relation_loss
from hf_distill.losses.similarity_preserving_loss import similarity_preserving_loss
from hf_distill.objectives.layer_term import LayerTerm
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.whole_step import Examples
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

POOLINGS = ("mean", "first")


def _distances_and_angles(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-DA, in the proportion of the paper's section 4."""
    return distance_relation_loss(student, teacher) + 2 * angle_relation_loss(student, teacher)


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "distance": distance_relation_loss,
    "angle": angle_relation_loss,
    "distance_angle": _distances_and_angles,
    "similarity": similarity_preserving_loss,
}
CONTRAST_LOSSES = tuple(_LOSSES)


@dataclass(frozen=True, kw_only=True)
class Contrast(LayerTerm):
    """The distance between how the two models relate the examples of a step, averaged over pairs of layers.

    Each example is one vector: its hidden states pooled, whose widths need not agree. All examples of the optimiser
    step are compared, over micro-batches and processes; see :mod:`hf_distill.objectives.whole_step`.

    Attributes:
        loss: ``distance``, ``angle`` or, as 1 to 2, both (RKD, Park et al. 2019, https://arxiv.org/abs/1904.05068), or
            ``similarity`` (SPKD, Tung & Mori 2019, https://arxiv.org/abs/1907.09682).
        pooling: ``mean`` over the attended positions, or the ``first`` of them.
        layer_mapping: ``last``, ``auto`` or pairs; see :func:`resolve_layer_mapping`.

    Raises:
        InputError: A setting is unknown.
    """

    name: str = "contrast_loss"
    loss: str = "distance_angle"
    pooling: str = "mean"
    mapping_name: ClassVar[str] = "contrast_mapping"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.loss not in _LOSSES:
            raise InputError(f"contrast_loss is {self.loss!r}; use one of {', '.join(_LOSSES)}.")
        if self.pooling not in POOLINGS:
            raise InputError(f"contrast_pooling is {self.pooling!r}; use one of {', '.join(POOLINGS)}.")

    @property
    def compares_examples(self) -> bool:
        """That is what it is for."""
        return True

    def needs_in(self, layers: frozenset[int]) -> SignalNeeds:
        """The hidden states."""
        return SignalNeeds(hidden_states=layers)

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """This micro-batch's share of the value over the whole step."""
        pool = batch.mean_over_positions if self.pooling == "mean" else batch.first_position
        values = []
        for student_layer, teacher_layer in self.pairs:
            own = Examples(
                pool(student.hidden_states[student_layer].float())[batch.counted.examples],
                pool(teacher.hidden_states[teacher_layer].detach().float())[batch.counted.examples],
            )
            name = f"{self.name}_{student_layer}_{teacher_layer}"
            values.append(batch.whole_step.compare(name, own, _LOSSES[self.loss]))
        return torch.stack(values).mean()
