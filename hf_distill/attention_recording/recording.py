"""Taking the self-attention's signals out of a model while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from hf_distill.attention_recording import attention_calls, projections
from hf_distill.attention_recording.layer_recorder import LayerRecorder, scores_refused
from hf_distill.attention_recording.self_attention_layers import Layer, find_layers
from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.signal_needs import SignalNeeds


@contextmanager
def recording_attention(model: nn.Module, needs: SignalNeeds) -> Iterator[dict[int, AttentionSignals]]:
    """While open, a forward of ``model`` leaves the self-attention signals of the layers asked for in the mapping.

    Layers are counted from 1. In encoder-decoders they are the decoder's, and only their self-attention is recorded,
    never their cross-attention. The tensors are those that the model computes with: no copies, with their gradients.
    The model's outputs do not change, nor does it compute attention maps. One forward is recorded; the caller empties
    the mapping before a further one. What gradient checkpointing computes again in the backward pass is not recorded.

    Args:
        model: Of transformers; unwrapped (``model.module`` of a model in DDP).
        needs: Of which only the attention is looked at; without any the model is left untouched.

    Raises:
        InputError: On entry, as ``check_attention`` does. While the model runs: a layer is applied twice. On exit: a
            layer that was asked for left nothing.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=2, hidden_size=32, num_attention_heads=4))
        >>> with recording_attention(model, SignalNeeds(values=frozenset({2}))) as signals:
        ...     output = model(torch.tensor([[5, 6, 7]]))
        >>> signals[2].value.shape
        torch.Size([1, 4, 3, 8])
    """
    signals: dict[int, AttentionSignals] = {}
    if not needs.attention:
        yield signals
        return
    name = type(model).__name__
    recorders = []
    with ExitStack() as stack:
        for number, attention in _asked_for(model, needs).items():
            recorder = LayerRecorder(name, number, needs, signals)
            recorders.append(recorder)
            if attention_calls.calls_attention_function(attention):
                stack.enter_context(attention_calls.recording_calls(attention, recorder))
            else:
                stack.enter_context(projections.recording_projections(attention, recorder))
        yield signals
    missing = [str(recorder.layer) for recorder in recorders if not recorder.has_recorded]
    if missing:
        raise InputError(
            f"The self-attention of layer {', '.join(missing)} in {name} was asked for and left nothing: the layer "
            "did not run, or computes its attention in a way that cannot be recorded; leave the objectives on "
            "attention and relations of that layer out"
        )


def check_attention(model: nn.Module, needs: SignalNeeds) -> None:
    """Check before training that ``model`` can hand over what is needed of its attention.

    Raises:
        InputError: It has no attention that can be recorded, or not in that layer; scores are to be compared that hold
            more than dot products, position biases and masks; it uses reentrant gradient checkpointing.
    """
    if needs.attention:
        _asked_for(model, needs)


def _asked_for(model: nn.Module, needs: SignalNeeds) -> dict[int, nn.Module]:
    """The self-attention of each layer that is needed."""
    name = type(model).__name__
    layers = find_layers(model)
    attentions = {}
    for number in sorted(needs.attention):
        if not 1 <= number <= len(layers):
            raise InputError(
                f"Attention of layer {number} was asked for and {name} has layers 1 to {len(layers)}: "
                "choose a layer among them"
            )
        layer = layers[number - 1]
        if layer.self_attention is None:
            raise InputError(
                f"Layer {number} of {name} has no self-attention whose queries, keys and values can be taken: "
                "choose another layer"
            )
        _refuse_reentrant_checkpointing(name, layer)
        if number in needs.position_biases:
            _refuse_changed_scores(name, number, layer.self_attention)
        attentions[number] = layer.self_attention
    return attentions


def _refuse_reentrant_checkpointing(name: str, layer: Layer) -> None:
    checkpointing = getattr(layer.module, "_gradient_checkpointing_func", None)
    is_reentrant = getattr(checkpointing, "keywords", {}).get("use_reentrant", False)
    if is_reentrant and getattr(layer.module, "gradient_checkpointing", False) and layer.module.training:
        raise InputError(
            f"{name} uses reentrant gradient checkpointing, which runs its layers without gradients, so none would "
            "reach what is recorded: set `gradient_checkpointing_kwargs` to {'use_reentrant': false}"
        )


def _refuse_changed_scores(name: str, number: int, attention: nn.Module) -> None:
    reason = attention_calls.changes_scores(attention) or projections.changes_scores(attention)
    if reason is not None:
        raise InputError(scores_refused(name, number, reason))
