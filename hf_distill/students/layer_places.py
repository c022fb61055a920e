"""What hangs on a layer's place in its stack: carried over to the student, or refused.

A teacher's layer takes a new place in the student. Most layers only know their index in order to find their own cache,
but ModernBERT's layer 0 has no attention norm, T5's layer 0 holds the position bias that all layers use, GPT-2 may
divide its attention by the index, and a list of the configuration may give each layer its kind. So the layer that the
student's configuration builds at the new place is compared, module by module, with the one that the teacher's builds
at the old place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    tables: set[str] = set()
    for stack, kept in kept_layers.items():
        if list(kept) != list(range(len(kept))):
            _refuse_scaling_by_place(stack, stack.counting_config(teacher.config))
        for path in stack.paths:
            before, after = teacher.get_submodule(path), student.get_submodule(path)
            assert isinstance(before, nn.ModuleList) and isinstance(after, nn.ModuleList)
            for place, layer in enumerate(kept):
                move = _Move(layer, place, before, after)
                move_tables = move.tables()
                difference = move.difference(move_tables)
                if difference is not None:
                    raise InputError(
                        f"layer {layer} of {path} cannot become the student's layer {place}: {difference}; "
                        "choose other layers, or layer_selection='first', which leaves every layer at its place"
                    )
                tables.update(f"{path}.{place}.{table}" for table in move_tables)
    return tables


def _refuse_scaling_by_place(stack: LayerStack, config: PreTrainedConfig) -> None:
    for field, value in vars(config).items():
        if "layer_idx" in field and value:
            raise InputError(
                f"{field}={value} makes each layer of {stack.paths[0]} compute with its index, which would change; "
                "choose layer_selection='first', which leaves every layer at its place"
            )


@dataclass(frozen=True)
class _Move:
    """A layer that goes from one place of the teacher's stack to another place of the student's."""

    layer: int
    place: int
    before: nn.ModuleList
    after: nn.ModuleList

    def tables(self) -> set[str]:
        """Embeddings that only the layer at place 0 holds, for all to use: T5's ``relative_attention_bias``."""
        if self.place != 0 or self.layer == 0:
            return set()
        moved, first = _modules(self.before[self.layer]), _modules(self.before[0])
        return {
            name
            for name, module in _modules(self.after[0]).items()
            if isinstance(module, nn.Embedding) and name in first and name not in moved
        }

    def difference(self, tables: set[str]) -> str | None:
        """What sets the layer at the new place apart from the one at the old place, ``tables`` aside."""
        old, new = _modules(self.before[self.layer]), _modules(self.after[self.place])
        first = _modules(self.before[0])
        holders = {table.rpartition(".")[0] for table in tables}
        for name in dict.fromkeys([*old, *new]):
            if name in tables:
                continue
            label = name or "the layer"
            if name not in new or name not in old:
                return f"{label} exists only {'at its place' if name in old else 'there'}"
            if type(old[name]) is not type(new[name]):
                return f"{label} is {type(old[name]).__name__} at its place and {type(new[name]).__name__} there"
            if _shapes(old[name]) != _shapes(new[name]):
                return f"the weights of {label} are {_shapes(old[name])} at its place and {_shapes(new[name])} there"
            old_settings, new_settings = _settings(old[name]), _settings(new[name])
            accepted = _settings(first[name]) if name in holders else {}
            for key in dict.fromkeys([*old_settings, *new_settings]):
                was, will_be = old_settings.get(key), new_settings.get(key)
                is_own_index = (was, will_be) == (self.layer, self.place)
                if was != will_be and not is_own_index and accepted.get(key) != will_be:
                    return f"{key} of {label} is {was} at its place and {will_be} there"
        return None


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
