"""What hangs on a layer's place in its stack: carried over to the student, or refused.

A teacher's layer takes a new place in the student. Most layers only know their index in order to find their own cache,
but ModernBERT's layer 0 has no attention norm, T5's layer 0 holds the position bias that all layers use, GPT-2 may
divide its attention by the index, and a list of the configuration may give each layer its kind. So the layer that the
student's configuration builds at the new place is compared, module by module, with the one that the teacher's builds
at the old place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import LayerStack


def find_carried_tables(
    teacher: PreTrainedModel, student: PreTrainedModel, kept_layers: Mapping[LayerStack, Sequence[int]]
) -> set[str]:
    """Paths of the position tables that move from the teacher's layer 0 into the student's.

    Args:
        teacher: Its skeleton.
        student: Its skeleton, from the configuration as it will be loaded again.
        kept_layers: Ascending indices into each stack.

    Raises:
        InputError: A layer would compute something else at its new place.
    """
    carried: set[str] = set()
    for stack, kept in kept_layers.items():
        if list(kept) != list(range(len(kept))):
            _refuse_scaling_by_place(stack, stack.counting_config(teacher.config))
        for path in stack.paths:
            places = _Places(teacher.get_submodule(path), student.get_submodule(path))
            tables = places.tables_of_layer_0(kept[0])
            carried.update(f"{path}.0.{table}" for table in tables)
            for place, layer in enumerate(kept):
                difference = places.difference(layer, place, tables if place == 0 else set())
                if difference is not None:
                    raise InputError(
                        f"layer {layer} of {path} cannot become the student's layer {place}: {difference}; "
                        "choose other layers, or layer_selection='first', which leaves every layer at its place"
                    )
    return carried


def _refuse_scaling_by_place(stack: LayerStack, config: PreTrainedConfig) -> None:
    for field, value in vars(config).items():
        if "layer_idx" in field and value:
            raise InputError(
                f"{field}={value} makes each layer of {stack.paths[0]} compute with its index, which would change; "
                "choose layer_selection='first', which leaves every layer at its place"
            )


class _Places:
    """A stack as the teacher's configuration builds it, and as the student's does."""

    def __init__(self, teacher_stack: nn.Module, student_stack: nn.Module) -> None:
        self.before = [_modules(layer) for layer in teacher_stack.children()]
        self.after = [_modules(layer) for layer in student_stack.children()]

    def tables_of_layer_0(self, first_kept: int) -> set[str]:
        """Embeddings that only layer 0 holds, for all layers to use: T5's ``relative_attention_bias``."""
        return {
            name
            for name, module in self.after[0].items()
            if isinstance(module, nn.Embedding) and name in self.before[0] and name not in self.before[first_kept]
        }

    def difference(self, layer: int, place: int, tables: set[str]) -> str | None:
        """What sets the student's layer at ``place`` apart from the teacher's ``layer``, ``tables`` aside."""
        old, new = self.before[layer], self.after[place]
        for name in dict.fromkeys([*old, *new]):
            if name in tables:
                continue
            label = name or "the layer"
            if name not in new or name not in old:
                return f"{label} exists only {'at its place' if name in old else 'there'}"
            old_type, new_type = type(old[name]).__name__, type(new[name]).__name__
            if old_type != new_type:
                return f"{label} is {old_type} at its place and {new_type} there"
            if _shapes(old[name]) != _shapes(new[name]):
                return f"the weights of {label} are {_shapes(old[name])} at its place and {_shapes(new[name])} there"
            holds_table = any(table.rpartition(".")[0] == name for table in tables)
            for key in dict.fromkeys([*_settings(old[name]), *_settings(new[name])]):
                was, will_be = _settings(old[name]).get(key), _settings(new[name]).get(key)
                comes_with_table = holds_table and will_be == _settings(self.before[0][name]).get(key)
                if was != will_be and not comes_with_table and not self._is_index(name, key):
                    return f"{key} of {label} is {was} at its place and {will_be} there"
        return None

    def _is_index(self, name: str, key: str) -> bool:
        """Whether ``key`` of the module ``name`` only tells each layer its own place."""
        return all(
            _settings(layer[name]).get(key) == place
            for layers in (self.before, self.after)
            for place, layer in enumerate(layers)
            if name in layer
        )


def _modules(layer: nn.Module) -> dict[str, nn.Module]:
    """The modules of a layer by name, without dropout and stochastic depth, which do nothing outside training."""
    return {name: module for name, module in layer.named_modules() if "drop" not in name}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tuple(tensor.shape) for name, tensor in tensors}


def _settings(module: nn.Module) -> dict[str, Any]:
    plain = bool | int | float | str | tuple | torch.dtype
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, plain) and not name.startswith("_") and "drop" not in name
    }
