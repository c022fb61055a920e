"""What a model's cost depends on, read off the model itself, without its weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import build_skeleton

_PROBE_TOKENS = 8
_LAYER = re.compile(r"(.*?\.\d+)\.")


@dataclass(frozen=True)
class ModelShape:
    """The few numbers of a transformer that its FLOPs and bytes follow from.

    Attributes:
        parameters: All weights, tied ones once.
        token_weights: Weights of the linear maps that every token goes through, in the layers and in a head for
            tokens; a map that is used twice counts twice. Embeddings are looked up, not multiplied, and count nothing.
        sequence_weights: Weights of the linear maps that a sequence goes through once: pooler and classifier.
        attention_width: Heads times their width, added up over the layers.
        layer_values: Numbers for each token that the layers keep for the backward pass.
        half_values: How many of them are in half precision under autocast.
        transient_values: Numbers for each token that a forward without gradients holds at once.
        outputs: Logits of a sequence, or of a token where ``per_token``.
        per_token: Whether the logits are for each token.
        hidden_size: Width of the hidden states.
        num_layers: How many layers there are.
    """

    parameters: int
    token_weights: int
    sequence_weights: int
    attention_width: int
    layer_values: int
    half_values: int
    transient_values: int
    outputs: int
    per_token: bool
    hidden_size: int
    num_layers: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelShape:
        """Of a text encoder or decoder, which is built again on the ``meta`` device and run there on a few tokens.

        So grouped heads, gated MLPs, shared layers and any head are counted as they are used, for no memory and no
        arithmetic. Matrix products outside linear maps and attention are not seen (experts kept in one tensor).

        Args:
            model: With or without weights; it is left as it is.

        Raises:
            InputError: It has an encoder and a decoder, or does not run on token ids alone.
        """
        config = copy.deepcopy(model.config)
        if config.is_encoder_decoder:
            raise InputError(
                f"{type(model).__name__} has an encoder and a decoder, and the cost model knows one stack of layers; "
                "give an encoder or a decoder."
            )
        skeleton = build_skeleton(type(model), config).eval()
        calls, logits = _run(skeleton)
        in_layers = [call for call in calls if call.layer is not None]
        if not in_layers:
            raise InputError(
                f"{type(model).__name__} has no linear maps in a list of layers, so its cost is unknown; "
                "give a transformer."
            )
        hidden_size, num_layers = config.hidden_size, config.num_hidden_layers
        half_values, activation_values = _values_kept(in_layers, num_layers, skeleton)
        head_width = getattr(config, "head_dim", None) or hidden_size // config.num_attention_heads
        return cls(
            parameters=sum(weight.numel() for weight in skeleton.parameters()),
            token_weights=sum(call.weights for call in calls if call.rows > 1),
            sequence_weights=sum(call.weights for call in calls if call.rows == 1),
            attention_width=num_layers * config.num_attention_heads * head_width,
            layer_values=half_values + activation_values + 2 * num_layers * hidden_size,
            half_values=half_values + activation_values,
            transient_values=2 * hidden_size + 2 * max(call.inputs for call in in_layers),
            outputs=logits[-1],
            per_token=len(logits) == 3,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )


@dataclass(frozen=True)
class _Call:
    """One use of a linear map: rows times inputs to outputs."""

    layer: str | None
    source: Tensor
    rows: int
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs


def _run(skeleton: PreTrainedModel) -> tuple[list[_Call], tuple[int, ...]]:
    """The linear maps in the order of their use, and the shape of the logits."""
    calls: list[_Call] = []

    def record(name: str, inputs: Tensor, outputs: Tensor) -> None:
        layer = _LAYER.match(name)
        rows = prod(inputs.shape[:-1])
        calls.append(_Call(layer and layer[1], inputs, rows, inputs.shape[-1], outputs.shape[-1]))

    hooks = [
        module.register_forward_hook(lambda _, inputs, outputs, name=name: record(name, inputs[0], outputs))
        for name, module in skeleton.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    ]
    # A model that knows its padding would look for it among the tokens, and on the meta device there are no values.
    skeleton.config.pad_token_id = None
    try:
        with torch.no_grad():
            output = skeleton(input_ids=torch.ones(1, _PROBE_TOKENS, dtype=torch.long, device="meta"))
    except Exception as error:  # a model may ask for anything, and fail in any way without it
        reason = " ".join(str(error).split())
        raise InputError(
            f"{type(skeleton).__name__} does not run on token ids alone ({reason}), so its cost is unknown; give a "
            "text encoder or decoder."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Mapping) or "logits" not in output:
        raise InputError(f"{type(skeleton).__name__} returns no `logits`; give a model with one head.")
    return calls, tuple(output["logits"].shape)


def _values_kept(calls: list[_Call], num_layers: int, skeleton: PreTrainedModel) -> tuple[int, int]:
    """Numbers for each token that the layers' backward needs: those of the linear maps, and the activations' own.

    Every linear map keeps its input, once where several share it (query, key and value); its output is kept by what
    comes after it, as a kernel's or a norm's input. A gate is kept once more after its activation, and a GELU that is
    written out in Python keeps what is in between.
    """
    sources = {id(call.source): call for call in calls}
    values = sum(call.outputs for call in calls) + sum(call.inputs for call in sources.values())
    last = calls[-1]
    into_last = [call for call in calls if call.layer == last.layer and call.source is not last.source]
    before = [call for call in into_last if call.source is into_last[-1].source]
    gates = sum(call.outputs for call in before) // last.inputs - 1 if into_last else 0
    is_written_out = any(isinstance(module, NewGELUActivation) for module in skeleton.modules())
    return values, num_layers * last.inputs * (gates + 3 * is_written_out)
