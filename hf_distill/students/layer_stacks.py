"""Where a model keeps its stacks of layers, and which number of its configuration counts each of them.

Nothing here knows a model by name. Each integer of the configuration that equals the length of some ``ModuleList`` is
lowered by one and the model is built again without memory (on the ``meta`` device): an integer that takes away the
last layer, and nothing else, counts that stack. Matching by value alone would take 12 heads for 12 layers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from hf_distill.errors import InputError

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class LayerStack:
    """A run of layers, applied one after the other, whose number the configuration holds.

    Attributes:
        name: Short and unique in its model, such as ``"encoder"``.
        paths: The ``ModuleList``s that hold it, such as ``("bert.encoder.layer",)``; several when the parts of a layer
            live in parallel lists.
        count_field: Where the configuration counts the layers, from the outermost configuration in:
            ``("text_config", "num_hidden_layers")``.
        total: How many layers there are.
        per_layer_fields: Lists beside the count that hold one value for each layer, such as ``layer_types``.
    """

    name: str
    paths: tuple[str, ...]
    count_field: tuple[str, ...]
    total: int
    per_layer_fields: tuple[str, ...]

    def counting_config(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """The configuration, ``config`` itself or one nested in it, that counts this stack."""
        return _nested(config, self.count_field[:-1])


def build_skeleton(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """The model that ``config`` describes, with shapes and without data; ``config`` itself becomes the model's."""
    with torch.device("meta"):
        return model_class(config)


def find_layer_stacks(model: PreTrainedModel) -> list[LayerStack]:
    """All stacks of layers of ``model`` that its configuration counts, in the order of its modules.

    Raises:
        InputError: There is none: the model runs one shared layer many times (ALBERT), or its layers are unequal
            (Swin).

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=4, hidden_size=32, num_attention_heads=4))
        >>> [(stack.name, stack.paths, stack.total) for stack in find_layer_stacks(model)]
        [('encoder', ('encoder.layer',), 4)]
    """
    skeleton = build_skeleton(type(model), copy.deepcopy(model.config))
    lists = _outermost_lists(skeleton)
    lengths = {len(layers) for layers in lists.values()}
    probes = (_probe(skeleton, lists, field) for field in _integer_fields(skeleton.config, lengths))
    stacks = [stack for stack in probes if stack is not None]
    _refuse_uncounted_layers(skeleton, lists, stacks)
    order = list(lists)
    return _named(sorted(stacks, key=lambda stack: order.index(stack.paths[0])))


def _nested(config: PreTrainedConfig, path: Sequence[str]) -> PreTrainedConfig:
    for name in path:
        config = getattr(config, name)
    return config


def _outermost_lists(model: PreTrainedModel) -> dict[str, nn.ModuleList]:
    lists: dict[str, nn.ModuleList] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(path.startswith(f"{outer}.") for outer in lists):
            lists[path] = module
    return lists


def _integer_fields(
    config: PreTrainedConfig, values: set[int], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of the positive integers of ``config``, and of those nested in it, that have one of ``values``."""
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from _integer_fields(value, values, (*path, name))
        elif type(value) is int and value in values and value > 0 and not name.startswith("_"):
            yield (*path, name)


def _probe(skeleton: PreTrainedModel, lists: dict[str, nn.ModuleList], field: tuple[str, ...]) -> LayerStack | None:
    """The stack that ``field`` counts, if lowering it by one takes the last layer away and nothing else."""
    for per_layer_fields in _list_fields_to_try(skeleton.config, field):
        shorter = _build_shorter(skeleton, field, per_layer_fields)
        if shorter is not None:
            break
    else:
        return None
    total = getattr(_nested(skeleton.config, field[:-1]), field[-1])
    shorter_lists = _outermost_lists(shorter)
    paths = [path for path, layers in lists.items() if len(shorter_lists.get(path, ())) != len(layers)]
    is_stack = (
        bool(paths)
        and all(len(lists[path]) == total and len(shorter_lists.get(path, ())) == total - 1 for path in paths)
        and all(_are_alike(lists[path]) for path in paths)
        and any(next(lists[path][0].children(), None) is not None for path in paths)
        and _shapes_outside(skeleton, paths) == _shapes_outside(shorter, paths)
    )
    return LayerStack("", tuple(paths), field, total, per_layer_fields) if is_stack else None


def _list_fields_to_try(config: PreTrainedConfig, field: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Which lists as long as the count to shorten with it, likeliest first.

    Those whose name speaks of layers always; another (Longformer's ``attention_window``) only when the model cannot be
    built otherwise, since a list may have that length by chance.
    """
    beside = vars(_nested(config, field[:-1]))
    same_length = [
        name
        for name, value in beside.items()
        if isinstance(value, list | tuple) and len(value) == beside[field[-1]] and not name.startswith("_")
    ]
    about_layers = tuple(name for name in same_length if "layer" in name)
    yield about_layers
    for name in same_length:
        if name not in about_layers:
            yield (*about_layers, name)


def _build_shorter(
    skeleton: PreTrainedModel, field: tuple[str, ...], per_layer_fields: tuple[str, ...]
) -> PreTrainedModel | None:
    config = copy.deepcopy(skeleton.config)
    counting = _nested(config, field[:-1])
    try:
        setattr(counting, field[-1], getattr(counting, field[-1]) - 1)
        for name in per_layer_fields:
            setattr(counting, name, getattr(counting, name)[:-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build_skeleton(type(skeleton), config)
    except Exception as error:  # the integer may mean anything, so anything may be raised
        logger.debug(f"{'.'.join(field)} lowered by one, with {per_layer_fields} shortened: {error!r}")
        return None


def _are_alike(layers: nn.ModuleList) -> bool:
    """Whether layers that hold the same tensors hold them in the same shapes."""
    shapes_by_kind: dict[frozenset[str], dict[str, torch.Size]] = {}
    for layer in layers:
        shapes = {name: tensor.shape for name, tensor in layer.state_dict().items()}
        if shapes_by_kind.setdefault(frozenset(shapes), shapes) != shapes:
            return False
    return True


def _num_weights(layer: nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())


def _shapes_outside(model: PreTrainedModel, paths: Sequence[str]) -> dict[str, torch.Size]:
    inside = tuple(f"{path}." for path in paths)
    return {name: tensor.shape for name, tensor in model.state_dict().items() if not name.startswith(inside)}


def _refuse_uncounted_layers(
    skeleton: PreTrainedModel, lists: dict[str, nn.ModuleList], stacks: list[LayerStack]
) -> None:
    """Refuses a model that has no stack, or whose configured depth is none of the stacks found (ALBERT's groups)."""
    config = skeleton.config
    field = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    depth = getattr(config, field, None)
    totals = [stack.total for stack in stacks]
    if field in vars(config):
        depth_is_counted = (field,) in {stack.count_field for stack in stacks}
    else:
        depth_is_counted = depth in totals or depth == sum(totals)
    # A decoder taken out of an encoder-decoder keeps the encoder's count, which nothing in it obeys.
    if stacks and (depth_is_counted or not isinstance(depth, int) or getattr(config, "is_decoder", False)):
        return
    model_name = type(skeleton).__name__
    unequal = [path for path, layers in lists.items() if len({_num_weights(layer) for layer in layers}) > 1]
    if unequal:
        raise InputError(
            f"the layers of {unequal[0]} in {model_name} are unequal in size, so none can take another's place; "
            "use another model as the student"
        )
    raise InputError(
        f"{model_name} has no list of layers that {field} in its configuration counts, so no layer can be left out "
        "(one layer's weights may be shared by all, or other weights may depend on the number of layers); "
        "use another model as the student"
    )


def _named(stacks: list[LayerStack]) -> list[LayerStack]:
    """Gives each stack the part of its path that tells it from the others: ``encoder`` in ``model.encoder.layers``."""
    paths = [stack.paths[0].split(".") for stack in stacks]
    if len(stacks) == 1:
        return [replace(stacks[0], name=paths[0][-2] if len(paths[0]) > 1 else paths[0][-1])]
    first, last = 0, 0
    while len({tuple(path[: first + 1]) for path in paths}) == 1:
        first += 1
    while len({tuple(path[len(path) - last - 1 :]) for path in paths}) == 1:
        last += 1
    cores = [path[first : len(path) - last] or path[-1:] for path in paths]
    names = [core[0] for core in cores]
    if len(set(names)) < len(names):
        names = [".".join(core) for core in cores]
    return [replace(stack, name=name) for stack, name in zip(stacks, names, strict=True)]
