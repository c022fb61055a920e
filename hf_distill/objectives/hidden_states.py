"""The teacher's hidden states as targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.cosine_hidden_state_loss import cosine_hidden_state_loss
from hf_distill.losses.mse_hidden_state_loss import mse_hidden_state_loss
from hf_distill.losses.normalised_hidden_state_loss import normalised_hidden_state_loss
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.layer_term import LayerTerm
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_hidden_state_loss,
    "mse": mse_hidden_state_loss,
    "first_token": normalised_hidden_state_loss,
}
HIDDEN_STATE_LOSSES = tuple(_LOSSES)


@dataclass(frozen=True, kw_only=True)
class HiddenStates(LayerTerm):
    """The distance between the hidden states of pairs of layers, averaged over the pairs.

    Where the student's are narrower or wider than the teacher's, a linear projection is trained with it for each
    layer of the student.

    Attributes:
        loss: ``cosine`` (DistilBERT), ``mse`` (TinyBERT), both at every attended position; or ``first_token``: the
            squared distance between the normalised states of the first attended token (PKD).
        layer_mapping: ``last``, ``auto`` or pairs; see :func:`resolve_layer_mapping`.

    Raises:
        InputError: A setting is unknown.

    Example:
        >>> HiddenStates(weight=1.0, loss="mse", layer_mapping=[[0, 0], [1, 2], [2, 4]]).name
        'hidden_state_loss'
    """

    name: str = "hidden_state_loss"
    loss: str = "cosine"
    aligns_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.loss not in _LOSSES:
            raise InputError(f"hidden_state_loss is {self.loss!r}; use one of {', '.join(_LOSSES)}.")

    def needs_in(self, layers: frozenset[int]) -> SignalNeeds:
        """The hidden states."""
        return SignalNeeds(hidden_states=layers)

    def projections(self, student: ModelShape, teacher: ModelShape) -> dict[str, tuple[int, int]]:
        """One for each of the student's layers, where the widths differ."""
        if student.hidden_size is None or teacher.hidden_size is None or student.hidden_size == teacher.hidden_size:
            return {}
        layers = {layer for layer, _ in self.pairs}
        return {self._projection(layer): (student.hidden_size, teacher.hidden_size) for layer in sorted(layers)}

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """Average over the attended positions, or over the examples for ``first_token``, and over the pairs.

        Raises:
            InputError: The states differ in length, or in width without a projection.
        """
        values = []
        for student_layer, teacher_layer in self.pairs:
            state, target = student.hidden_states[student_layer], teacher.hidden_states[teacher_layer]
            projection = self._projection(student_layer)
            if projection in batch.projections:
                state = batch.projections[projection](state.float())
            _check_shapes(state, target)
            if self.loss == "first_token":
                distances = _LOSSES[self.loss](batch.first_position(state), batch.first_position(target))
                values.append(batch.average_over_examples(distances))
            else:
                values.append(batch.average_over_positions(_LOSSES[self.loss](state, target)))
        return torch.stack(values).mean()

    def _projection(self, layer: int) -> str:
        return f"{self.name}_{layer}"


def _check_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.dim() > 3:
        raise InputError(
            f"The student's hidden states are {tuple(student.shape)}: feature maps, whose channels do not come last "
            "and whose places do not line up between layers of different sizes. Compare contrast in their place."
        )
    if student.shape != teacher.shape:
        raise InputError(
            f"The student's hidden states are {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}: they "
            "are compared position by position. Use models that cut their inputs into the same positions (the same "
            "tokenizer or patches), or compare what has none: soft targets or contrast."
        )
