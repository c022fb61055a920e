"""What a model hands over to the objective: one small dataclass for student and teacher, live or stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds


@dataclass(frozen=True)
class SparseLogits:
    """Some tokens' probabilities in place of the logits of a whole vocabulary.

    Attributes:
        token_ids: ``(..., kept)`` integers. A token may be there more than once: its probabilities add up.
        probabilities: ``(..., kept)``, at ``temperature``.
        entropy: ``(...)``, that of the whole distribution at ``temperature``, in nats.
        temperature: The only one at which these probabilities are right.
    """

    token_ids: Tensor
    probabilities: Tensor
    entropy: Tensor
    temperature: float


@dataclass(frozen=True)
class MixedLogits:
    """The logits of several teachers for the same rows.

    Attributes:
        logits: One tensor for each teacher, all ``(batch, [sequence,] num_classes)``.
        weights: One for each teacher, summing to 1.
    """

    logits: tuple[Tensor, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Signals:
    """The outputs that an objective may look at.

    Attributes:
        logits: ``(batch, [sequence,] num_classes)``; None where ``sparse`` or ``mixed`` takes their place.
        sparse: Of a teacher with a large vocabulary, the tokens that were kept.
        mixed: Of several teachers, the logits of each.
        hidden_states: By layer, 0 for the output of the embeddings: ``(batch, sequence, hidden_size)``, the decoder's
            where there is one. Only those that were asked for.
        attention: By layer, from 1: what its self-attention computed its scores from. Only what was asked for.
    """

    logits: Tensor | None
    sparse: SparseLogits | None = None
    mixed: MixedLogits | None = None
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attention: Mapping[int, AttentionSignals] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that exactly one kind of answer is there."""
        if sum(answer is not None for answer in (self.logits, self.sparse, self.mixed)) != 1:
            raise ValueError("Signals need exactly one of logits, sparse and mixed.")

    @classmethod
    def from_model_output(
        cls, output: Any, needs: SignalNeeds = NOTHING_ELSE, attention: Mapping[int, AttentionSignals] | None = None
    ) -> Signals:
        """Read them off whatever a forward returned: a ``ModelOutput``, a mapping, a tuple or the logits alone.

        Args:
            output: What the forward returned.
            needs: Which hidden states to keep.
            attention: What was recorded inside it.

        Raises:
            InputError: There are no logits in it, or not the hidden states that are needed.
        """
        attention = attention or {}
        if isinstance(output, Mapping):
            if "logits" not in output:
                raise InputError(
                    f"The model returned {', '.join(output)} and no `logits`, which distillation compares: use a "
                    "model with one classification or language-modelling head."
                )
            states = output.get("decoder_hidden_states") or output.get("hidden_states")
            hidden_states = _chosen(states, needs.hidden_states)
            return cls(output["logits"], hidden_states=hidden_states, attention=attention)
        _chosen(None, needs.hidden_states)
        return cls(output if isinstance(output, Tensor) else output[0], attention=attention)

    @property
    def dense_logits(self) -> Tensor:
        """The logits of a model that gave them all, as every student does."""
        if self.logits is None:
            raise ValueError("These signals are sparse or mixed and have no logits of their own.")
        return self.logits

    def for_causal_prediction(self) -> Signals:
        """Without the last position's logits, whose next token is unknown."""
        if self.sparse is not None:
            sparse = replace(
                self.sparse,
                token_ids=self.sparse.token_ids[..., :-1, :],
                probabilities=self.sparse.probabilities[..., :-1, :],
                entropy=self.sparse.entropy[..., :-1],
            )
            return replace(self, sparse=sparse)
        if self.mixed is not None:
            logits = tuple(logits[..., :-1, :] for logits in self.mixed.logits)
            return replace(self, mixed=replace(self.mixed, logits=logits))
        return replace(self, logits=self.dense_logits[..., :-1, :])

    def in_class_order(self, index: Tensor | None) -> Signals:
        """The same signals with the classes renumbered.

        Args:
            index: ``(num_classes,)``, for each new class the old one, each once; None leaves the classes as they are.
        """
        if index is None:
            return self
        if self.sparse is not None:
            return replace(self, sparse=replace(self.sparse, token_ids=index.argsort()[self.sparse.token_ids.long()]))
        if self.mixed is not None:
            logits = tuple(logits.index_select(-1, index) for logits in self.mixed.logits)
            return replace(self, mixed=replace(self.mixed, logits=logits))
        return replace(self, logits=self.dense_logits.index_select(-1, index))

    def to(self, device: torch.device) -> Signals:
        """The dense ones on another device."""
        hidden_states = {layer: state.to(device) for layer, state in self.hidden_states.items()}
        attention = {layer: signals.to(device) for layer, signals in self.attention.items()}
        return replace(self, logits=self.dense_logits.to(device), hidden_states=hidden_states, attention=attention)


def _chosen(states: tuple[Tensor, ...] | None, layers: frozenset[int]) -> dict[int, Tensor]:
    if not layers:
        return {}
    if not states:
        raise InputError(
            "An objective compares hidden states, and the model returned none: its forward must take "
            "`output_hidden_states`. Leave hidden_state_weight and contrast_weight at 0 for this model."
        )
    if max(layers) >= len(states):
        raise InputError(
            f"layer_mapping asks for layer {max(layers)}, and the model has {len(states) - 1} (0 is the output of its "
            "embeddings): name layers that it has."
        )
    return {layer: states[layer] for layer in sorted(layers)}
