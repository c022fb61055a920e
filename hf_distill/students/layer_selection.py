"""Which of a stack's layers a student takes, as plain integers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import SupportsIndex

from hf_distill.errors import InputError


def _alternate(total: int, count: int) -> list[int]:
    if count == (total + 1) // 2:
        return list(range(0, total, 2))
    return [place * total // count for place in range(count)]


def _spaced(total: int, count: int) -> list[int]:
    if count == 1:
        return [0]
    gaps = count - 1
    return [(2 * place * (total - 1) + gaps) // (2 * gaps) for place in range(count)]


def _first(total: int, count: int) -> list[int]:
    return list(range(count))


def _last(total: int, count: int) -> list[int]:
    return list(range(total - count, total))


LAYER_SELECTIONS: dict[str, Callable[[int, int], list[int]]] = {
    "alternate": _alternate,
    "spaced": _spaced,
    "first": _first,
    "last": _last,
}
"""Each takes how many layers there are and how many are wanted, and gives the ascending indices."""


def select_layers(
    total: int,
    num_layers: int | None = None,
    layers: Sequence[int] | None = None,
    layer_selection: str = "alternate",
) -> list[int]:
    """Indices of the layers to keep out of ``total``, in ascending order.

    - ``alternate``: every second layer from the first; for other counts than half, layer ``floor(i * total / n)``.
    - ``spaced``: spread evenly, the first and the last always kept (the first alone when one layer is wanted);
      12 → 6 gives ``[0, 2, 4, 7, 9, 11]``, the layers of DistilBERT (https://arxiv.org/abs/1910.01108).
    - ``first`` and ``last``: a run of layers from one end.

    Args:
        total: How many layers there are.
        num_layers: How many to keep; half, rounded up, when neither this nor ``layers`` is given.
        layers: Exactly these indices instead; ascending, each once.
        layer_selection: ``alternate``, ``spaced``, ``first`` or ``last``; not used when ``layers`` is given.

    Raises:
        InputError: The request cannot be met by ``total`` layers.

    Example:
        >>> select_layers(12, num_layers=6)
        [0, 2, 4, 6, 8, 10]
        >>> select_layers(12, num_layers=6, layer_selection="spaced")
        [0, 2, 4, 7, 9, 11]
        >>> select_layers(5)
        [0, 2, 4]
    """
    if layer_selection not in LAYER_SELECTIONS:
        known = ", ".join(LAYER_SELECTIONS)
        raise InputError(f"layer_selection={layer_selection!r} is not known; choose one of {known}")
    if num_layers is not None and layers is not None:
        raise InputError(
            f"num_layers={num_layers!r} and layers={layers!r} were both given and may disagree; give one of them"
        )
    if layers is not None:
        return _checked_indices(total, layers)
    count = (total + 1) // 2 if num_layers is None else _whole_number(num_layers, "num_layers")
    if count < 1:
        raise InputError(f"num_layers={count} leaves nothing to run; keep at least 1 of the {total} layers")
    if count > total:
        raise InputError(f"num_layers={count} is more than the {total} layers there are; ask for {total} or fewer")
    return LAYER_SELECTIONS[layer_selection](total, count)


def _checked_indices(total: int, layers: Sequence[int]) -> list[int]:
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise InputError(f"layers={layers!r} is not a list of layer indices; give one such as [0, 2, 4]")
    indices = [_whole_number(index, "layers") for index in layers]
    if not indices:
        raise InputError(f"layers is empty, which leaves nothing to run; name at least 1 of the {total} layers")
    for index in indices:
        if not 0 <= index < total:
            raise InputError(
                f"layers names layer {index}, but the {total} layers there are have the indices 0 to {total - 1}; "
                "choose among these"
            )
    duplicates = sorted({index for index in indices if indices.count(index) > 1})
    if duplicates:
        raise InputError(f"layers={indices} names layer {duplicates[0]} twice, and a layer is taken once; drop one")
    if indices != sorted(indices):
        raise InputError(f"layers={indices} does not ascend, and layers keep their order; give {sorted(indices)}")
    return indices


def _whole_number(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise InputError(f"{name} holds {value!r}, which is not a whole number; layers are counted by whole numbers")
    return operator.index(value)
