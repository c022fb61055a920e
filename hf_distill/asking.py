"""A forward, and what an objective looks at in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hf_distill.attention_recording import check_attention, recording_attention
from hf_distill.errors import InputError
from hf_distill.model_wrappers import takes_argument
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals


def ask(forward: nn.Module, model: nn.Module, inputs: Mapping[str, Any], needs: SignalNeeds) -> tuple[Any, Signals]:
    """Run a model and keep what is needed of it, and no more.

    Args:
        forward: The model as it is wrapped for training.
        model: The model inside.
        inputs: By name.
        needs: What to keep beside the logits.

    Returns:
        What the forward returned, and the signals.

    Raises:
        InputError: The model does not have what is needed.
    """
    options = {"output_hidden_states": True} if needs.hidden_states else {}
    if not needs.attention:
        output = forward(**inputs, **options)
        return output, Signals.from_model_output(output, needs)
    with recording_attention(model, needs) as attention:
        output = forward(**inputs, **options)
    return output, Signals.from_model_output(output, needs, attention)


def check_needs(model: nn.Module, needs: SignalNeeds, which: str) -> None:
    """Check before training that a model has what is needed, as far as that shows without running it.

    Args:
        model: Unwrapped.
        needs: What an objective looks at.
        which: ``student`` or ``teacher``, for the message.

    Raises:
        InputError: It has not.
    """
    if needs.hidden_states and not takes_argument(model, "output_hidden_states"):
        raise InputError(
            f"The objective compares hidden states, and the forward of the {which} ({type(model).__name__}) does not "
            "take `output_hidden_states`: set hidden_state_weight and contrast_weight to 0 for this model."
        )
    if needs.attention:
        check_attention(model, needs)
