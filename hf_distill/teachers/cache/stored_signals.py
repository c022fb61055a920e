"""What lies inside a teacher, as a cache stores it: a field for each layer and kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

_PARTS = {"query": "queries", "key": "keys", "value": "values"}


def stored_fields(needs: SignalNeeds) -> list[str]:
    """The names of what is stored beside the answers."""
    fields = [f"hidden_state_{layer}" for layer in needs.hidden_states]
    fields += [f"{part}_{layer}" for part, layers in _PARTS.items() for layer in getattr(needs, layers)]
    return sorted([*fields, *(f"scaling_{layer}" for layer in needs.position_biases)])


def to_store(signals: Signals, needs: SignalNeeds) -> dict[str, Tensor]:
    """The values of those fields, ``(batch, sequence, ...)``; a layer's scaling as ``(batch,)``.

    Raises:
        InputError: The teacher adds something to its attention scores that belongs to no single token.
    """
    values = {f"hidden_state_{layer}": signals.hidden_states[layer] for layer in needs.hidden_states}
    for part, layers in _PARTS.items():
        values |= {
            f"{part}_{layer}": getattr(signals.attention[layer], part).transpose(1, 2)
            for layer in getattr(needs, layers)
        }
    for layer in needs.position_biases:
        attention = signals.attention[layer]
        if attention.position_bias is not None:
            raise InputError(
                "The teacher adds position biases to its attention scores, one for each pair of tokens, and a cache "
                "stores what belongs to a single one: let it teach live, or compare relations in place of attention."
            )
        values[f"scaling_{layer}"] = torch.ones(len(signals.dense_logits)) * attention.scaling
    return values


def from_store(
    entry: Callable[[str], Tensor], needs: SignalNeeds
) -> tuple[dict[int, Tensor], dict[int, AttentionSignals]]:
    """The hidden states and the attention that were stored.

    Args:
        entry: Gives a field's value for a batch.
        needs: Which of them.
    """
    hidden_states = {layer: entry(f"hidden_state_{layer}") for layer in needs.hidden_states}
    attention = {}
    for layer in needs.attention:
        parts = {
            part: entry(f"{part}_{layer}").transpose(1, 2) if layer in getattr(needs, layers) else None
            for part, layers in _PARTS.items()
        }
        scaling = entry(f"scaling_{layer}").view(-1, 1, 1, 1) if layer in needs.position_biases else 1.0
        attention[layer] = AttentionSignals(**parts, scaling=scaling)
    return hidden_states, attention
