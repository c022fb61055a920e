"""How long the rows of a data set are, so that rows of similar length can be put together."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from transformers.trainer_utils import has_length

_LIST_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def row_lengths(dataset: Any, column: str = "input_ids") -> list[int] | None:
    """The length of each row, in the rows' own order.

    The rows of a ``datasets.Dataset`` are not read for it: Arrow knows where each list ends. Other data sets, and
    those that compute their rows when they are asked, are read once.

    Args:
        dataset: Anything that has a length and whose rows are mappings.
        column: What is measured: a list, an array or a tensor in each row.

    Returns:
        One length for each row, in tokens; None where that cannot be known: a data set without a length, or rows
        without such a column.
    """
    if not has_length(dataset):
        return None
    if isinstance(dataset, Dataset) and dataset.format["type"] != "custom":
        lengths = _list_lengths(dataset, column) if column in dataset.column_names else None
        if lengths is not None or column not in dataset.column_names:
            return lengths
    if len(dataset) == 0:
        return []
    first = dataset[0]
    if not isinstance(first, Mapping) or not isinstance(first.get(column), Sized):
        return None
    return [len(dataset[row][column]) for row in range(len(dataset))]


def _list_lengths(dataset: Dataset, column: str) -> list[int] | None:
    """Out of Arrow's offsets; None where the column holds no lists. A missing list has no length."""
    stored = dataset.data.column(column)
    if not any(is_list(stored.type) for is_list in _LIST_TYPES):
        return None
    lengths = pc.fill_null(pc.list_value_length(stored), 0).to_numpy()
    indices = dataset._indices
    return (lengths if indices is None else lengths[indices.column(0).to_numpy()]).tolist()


def are_rows_stored(dataset: Any) -> bool:
    """Whether the rows lie ready; else each is computed when it is asked for, and measuring costs as much."""
    return isinstance(dataset, list | tuple) or (isinstance(dataset, Dataset) and dataset.format["type"] != "custom")


def longest_first(lengths: list[int]) -> list[int]:
    """The row numbers in order of falling length, rows of equal length in their own order."""
    return sorted(range(len(lengths)), key=lambda row: -lengths[row])
