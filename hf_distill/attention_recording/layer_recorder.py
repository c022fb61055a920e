"""Keeps of one layer's attention what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.signal_needs import SignalNeeds


def scores_refused(model_name: str, layer: int, reason: str) -> str:
    """Why the scores of a layer cannot be compared, for an ``InputError``."""
    return (
        f"The scores before the softmax of layer {layer} in {model_name} cannot be compared, since its attention "
        f"{reason}: leave the objectives on attention scores out or use relations among queries, keys and values"
    )


@dataclass
class LayerRecorder:
    """Puts the heads of one layer's self-attention into ``signals``.

    Attributes:
        model_name: For error messages.
        layer: Counted from 1.
        needs: What to keep.
        signals: Where it goes; emptied by the caller before a further forward.
        has_recorded: Whether anything ever came.
    """

    model_name: str
    layer: int
    needs: SignalNeeds
    signals: dict[int, AttentionSignals]
    has_recorded: bool = False

    @property
    def scores_are_needed(self) -> bool:
        """Whether this layer's scores are compared."""
        return self.layer in self.needs.position_biases

    def scores_refused(self, reason: str) -> str:
        """Why this layer's scores cannot be compared."""
        return scores_refused(self.model_name, self.layer, reason)

    def record(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, position_bias: Tensor | None = None
    ) -> None:
        """Keep references to what was asked for; see ``AttentionSignals`` for the shapes.

        Raises:
            InputError: The layer was recorded already.
        """
        if self.layer in self.signals:
            if _runs_backward():
                return  # gradient checkpointing computes the layer again; what was recorded has the graph of the loss
            raise InputError(
                f"The self-attention of layer {self.layer} in {self.model_name} ran twice where one forward was to be "
                "recorded: a model that applies a layer several times has no attention of its own in each layer; "
                "leave the objectives on attention out (or run the model once for each recording)"
            )
        self.has_recorded = True
        self.signals[self.layer] = AttentionSignals(
            query=query if self.layer in self.needs.queries else None,
            key=key if self.layer in self.needs.keys else None,
            value=value if self.layer in self.needs.values else None,
            scaling=scaling,
            position_bias=position_bias if self.scores_are_needed else None,
        )


def _runs_backward() -> bool:
    return torch._C._current_graph_task_id() != -1
