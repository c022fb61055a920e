"""Which module is the self-attention of which layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hf_distill.attention_recording.attention_calls import calls_attention_function
from hf_distill.attention_recording.projections import has_known_projections
from hf_distill.errors import InputError

_ADVICE = "leave the objectives on attention and relations out, or use another model"


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        module: The layer.
        self_attention: The module in it whose heads can be recorded; None where it has none.
    """

    module: nn.Module
    self_attention: nn.Module | None


def find_layers(model: nn.Module) -> list[Layer]:
    """The layers of ``model``, the first of which is layer 1; the decoder's where there are several stacks.

    A layer's self-attention comes first in it, before its cross-attention.

    Raises:
        InputError: There are none whose attention can be recorded, several stacks of them, or one layer is applied
            many times (ALBERT).
    """
    name = type(model).__name__
    stacks = _stacks_with_attention(model)
    if len(stacks) > 1 and isinstance(model, PreTrainedModel):
        of_decoder = _stacks_with_attention(model.get_decoder())
        stacks = of_decoder or stacks
    if not stacks:
        raise InputError(
            f"No attention was found in {name} whose queries, keys and values can be taken: it has none, or computes "
            f"it without transformers' attention interface; {_ADVICE}"
        )
    if len(stacks) > 1:
        raise InputError(
            f"{name} has {len(stacks)} stacks of layers with attention ({', '.join(stacks)}) and no decoder among "
            f"them, so it is open which one is meant; {_ADVICE}"
        )
    (stack,) = stacks.values()
    layers = [Layer(module, _self_attention(module)) for module in stack]
    _refuse_shared_layers(name, layers)
    return layers


def _stacks_with_attention(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The outermost ``ModuleList``s, by path, that hold self-attention."""
    outermost: dict[str, nn.ModuleList] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(path.startswith(f"{outer}.") for outer in outermost):
            outermost[path] = module
    return {
        path: stack for path, stack in outermost.items() if any(_self_attention(layer) is not None for layer in stack)
    }


def _self_attention(layer: nn.Module) -> nn.Module | None:
    for path, module in layer.named_modules():
        if not (calls_attention_function(module) or has_known_projections(module)):
            continue
        if "cross" not in f"{path} {type(module).__name__}".lower():
            return module
    return None


def _refuse_shared_layers(name: str, layers: list[Layer]) -> None:
    modules = [layer.self_attention for layer in layers if layer.self_attention is not None]
    config = getattr(modules[0], "config", None)
    counted = (
        {value for field, value in vars(config).items() if type(value) is int and "layer" in field}
        if config is not None
        else set()
    )
    if len({id(module) for module in modules}) < len(modules) or (counted and len(layers) not in counted):
        raise InputError(
            f"{name} applies one layer many times (it holds {len(layers)} and its configuration counts "
            f"{', '.join(map(str, sorted(counted)))}), so a layer has no attention of its own; {_ADVICE}"
        )
