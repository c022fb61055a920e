"""Which dimension of which weight is the residual stream, a feed-forward neuron or an attention head.

No model is known by name. The model is built without memory (on the ``meta`` device) as the teacher's configuration
and as the student's describe it: dimensions that differ are to be narrowed. Those that differ already when only the
feed-forward block is narrower are its neurons. Attention projections are told by the names that the field gives them,
since queries of a BERT are as many as its stream is wide. The rest is the stream. Whatever does not fit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import PreTrainedModel

from hf_distill.errors import InputError, one_line
from hf_distill.students.labels import find_label_axes
from hf_distill.students.layer_stacks import build_skeleton, find_layer_stacks
from hf_distill.students.widths import Widths

_INTO_HEADS = re.compile(r"(^|\.)(query|key|value|[qkv]|[qkv]_lin|[qkv]_proj)\.(weight|bias)$")
_OUT_OF_HEADS = re.compile(r"(^|\.)(attention\.output\.dense|o|out_lin|o_proj|out_proj)\.weight$")

Axis = tuple[str, int]
"""The name of a weight, and one of its dimensions."""


@dataclass(frozen=True)
class UnitGroup:
    """Units of which a student keeps some: the neurons of a block, the heads of a layer, the features of a classifier.

    Heads that share keys and values are one unit.

    Attributes:
        axes: Where they are: a dimension holds the same number of entries for each unit, one unit after the other.
        reader: The ``nn.Linear`` whose inputs they are.
        total: How many there are.
        kept: How many the student keeps.
    """

    axes: tuple[Axis, ...]
    reader: str
    total: int
    kept: int


@dataclass(frozen=True)
class WeightAxes:
    """What the dimensions to narrow hold.

    Attributes:
        stream: Those that are the residual stream.
        groups: Those that are units, together with the other dimensions of the same units.
    """

    stream: frozenset[Axis]
    groups: tuple[UnitGroup, ...]


def find_weight_axes(model: PreTrainedModel, before: Widths, after: Widths) -> WeightAxes:
    """Finds the dimensions that shrink from one set of widths to the other.

    Args:
        model: The teacher.
        before: Its widths.
        after: The student's.

    Raises:
        InputError: Some dimension cannot be told, or the narrower model has other weights.
    """
    layers = [
        f"{path}.{place}" for stack in find_layer_stacks(model) for path in stack.paths for place in range(stack.total)
    ]
    neurons = dict(_changes(model, before, replace(before, intermediate_size=after.intermediate_size)))
    per_head = {
        (size * before.head_size, kept * before.head_size)
        for size, kept in (
            (before.num_attention_heads, after.num_attention_heads),
            (before.num_key_value_heads, after.num_key_value_heads),
        )
    }
    stream: set[Axis] = set()
    units: dict[tuple[str, str], list[Axis]] = {}
    for axis, sizes in _changes(model, before, after):
        layer = next((path for path in layers if axis[0].startswith(f"{path}.")), None)
        if layer is not None and neurons.get(axis) == sizes == (before.intermediate_size, after.intermediate_size):
            units.setdefault((layer, "neurons"), []).append(axis)
        elif layer is not None and _is_of_heads(axis) and sizes in per_head:
            units.setdefault((layer, "heads"), []).append(axis)
        elif axis not in neurons and sizes == (before.hidden_size, after.hidden_size):
            stream.add(axis)
        else:
            raise _unclear(model, axis[0], f"its dimension {axis[1]} would shrink from {sizes[0]} to {sizes[1]}")
    squares = {name for name, axis in stream if axis == 1 and (name, 0) in stream}
    for name in sorted(squares):
        if name.startswith(tuple(f"{path}." for path in layers)):
            raise _unclear(model, name, "both its dimensions would shrink")
    counts = {
        "neurons": (before.intermediate_size or 0, after.intermediate_size or 0),
        "heads": (before.num_key_value_heads, after.num_key_value_heads),
        "features": (before.hidden_size, after.hidden_size),
    }
    features = _features_of_classifier(model, stream, squares)
    if features:
        units["", "features"] = features
    return WeightAxes(
        frozenset(stream.difference(features)),
        tuple(UnitGroup(tuple(axes), _reader(model, axes), *counts[kind]) for (_, kind), axes in units.items()),
    )


def _changes(model: PreTrainedModel, before: Widths, after: Widths) -> Iterator[tuple[Axis, tuple[int, int]]]:
    """Each dimension whose size differs, with both sizes."""
    try:
        wide, narrow = (_shapes(build_skeleton(type(model), each.put_into(model.config))) for each in (before, after))
    except Exception as error:  # what a configuration refuses, it refuses in its own way
        raise InputError(
            f"{type(model).__name__} cannot be built as narrow as that ({one_line(error)}); choose other widths"
        ) from error
    for name in {**wide, **narrow}:
        if len(wide.get(name, ())) != len(narrow.get(name, ())):
            raise _unclear(model, name, "the narrower model has other weights")
        for axis, sizes in enumerate(zip(wide[name], narrow[name], strict=True)):
            if sizes[0] != sizes[1]:
                yield (name, axis), sizes


def _shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.shape for name, tensor in tensors}


def _is_of_heads(axis: Axis) -> bool:
    name, dimension = axis
    return (_INTO_HEADS, _OUT_OF_HEADS)[dimension].search(name) is not None if dimension < 2 else False


def _features_of_classifier(model: PreTrainedModel, stream: set[Axis], squares: set[str]) -> list[Axis]:
    """The dimensions between the dense layer of a classification head and its last one, if it has two.

    A nonlinearity works on each of these features, so they are no stream: they can be left out but not turned.
    """
    readers = [(name, 1) for name, axis in find_label_axes(model).items() if axis == 0 and (name, 1) in stream]
    if len(readers) != 1 or len(squares) != 1:
        return []
    (dense,) = squares
    bias = (f"{dense.removesuffix('weight')}bias", 0)
    return [(dense, 0), *([bias] if bias in stream else []), *readers]


def _reader(model: PreTrainedModel, axes: list[Axis]) -> str:
    """The one module whose inputs the units are."""
    readers = [name.removesuffix(".weight") for name, axis in axes if axis == 1]
    if len(readers) != 1 or not isinstance(model.get_submodule(readers[0]), nn.Linear):
        raise _unclear(model, axes[0][0], f"its units are read by {len(readers)} linear layers, not by one")
    return readers[0]


def _unclear(model: PreTrainedModel, name: str, why: str) -> InputError:
    return InputError(
        f"it is not clear how to narrow {name} of {type(model).__name__}: {why}; leave hidden_size, "
        "num_attention_heads and intermediate_size out, or give a narrower checkpoint or configuration as the student"
    )
