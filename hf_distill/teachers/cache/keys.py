"""The key of an example: a hash of what the teacher sees of it, wherever it stands and in whatever it is held."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

KEY_BYTES = 16
_ROWS_AT_ONCE = 10_000


def row_key(row: Mapping[str, Any], inputs: TeacherInputs) -> bytes:
    """The key of one row before collation, 128 bits.

    It is a BLAKE2b hash of name, shape and values of each of the teacher's inputs, integers as int64 and other numbers
    as float32, so that lists, arrays and tensors of the same numbers have the same key.

    Raises:
        InputError: An input is not made of numbers.
    """
    names = inputs.among(row)
    return _hash(names, [_numbers(name, row[name]) for name in names])


def row_keys(rows: Sequence[Mapping[str, Any]], inputs: TeacherInputs) -> np.ndarray:
    """``(rows, 16)`` uint8, the keys of several rows."""
    return _as_array([row_key(row, inputs) for row in rows])


def dataset_keys(dataset: Any, inputs: TeacherInputs) -> np.ndarray:
    """``(rows, 16)`` uint8, the keys of all rows; the lists of a ``datasets.Dataset`` are read as Arrow holds them.

    Args:
        dataset: Anything that has a length and whose rows are mappings.
        inputs: What the teacher reads.
    """
    if isinstance(dataset, Dataset) and dataset.format["type"] != "custom":
        names = inputs.among(dataset.format["columns"])
        if names and all(_is_list_of_numbers(dataset.data.column(name)) for name in names):
            return _as_array(list(_arrow_keys(dataset, names)))
    return _as_array([row_key(dataset[row], inputs) for row in range(len(dataset))])


def _arrow_keys(dataset: Dataset, names: list[str]) -> Iterator[bytes]:
    for table in dataset.with_format("arrow", columns=names).iter(_ROWS_AT_ONCE):
        columns = [_split(table.column(name)) for name in names]
        for values in zip(*columns, strict=True):
            yield _hash(names, values)


def _is_list_of_numbers(column: pa.ChunkedArray) -> bool:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)) or column.null_count:
        return False
    kind = column.type.value_type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return is_number and not any(chunk.flatten().null_count for chunk in column.chunks)


def _split(column: pa.ChunkedArray) -> list[np.ndarray]:
    ends = np.cumsum(pc.list_value_length(column).to_numpy())
    values = _plain(np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]))
    return np.split(values, ends[:-1])


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        array = value.detach().cpu().float().numpy() if _is_floating(value) else np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iubf":
        raise InputError(
            f"The column {name!r} holds {type(value).__name__}s that are not arrays of numbers, so a row cannot be "
            "recognised by it: hold numbers in it, or take it out with dataset.remove_columns."
        )
    return _plain(array)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _plain(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64)


def _hash(names: Sequence[str], arrays: Sequence[np.ndarray]) -> bytes:
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for name, array in zip(names, arrays, strict=True):
        # An empty list has no kind of number.
        kind = array.dtype.kind if array.size else "i"
        digest.update(f"{name} {array.shape} {kind} ".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _as_array(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
