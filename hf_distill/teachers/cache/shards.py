"""Answers on disk: safetensors files of many examples each, memory-mapped for reading."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.teachers.cache.sealed_file import write_sealed

SHARD_BYTES = 64 << 20
SHARD_SECONDS = 60.0
"""What a killed process loses at most: a shard is written when it is this large or this old."""
_KEYS, _OFFSETS = "keys", "offsets"


@dataclass(frozen=True)
class Answers:
    """What the teacher said to some rows.

    Attributes:
        keys: ``(rows, 16)`` uint8.
        by_row: Tensors ``(rows, ...)`` by their names.
        by_token: Tensors ``(tokens, ...)`` by their names, the rows after each other.
        lengths: ``(rows,)`` int64, the tokens of each row; None where nothing is stored by token.
    """

    keys: Tensor
    by_row: dict[str, Tensor]
    by_token: dict[str, Tensor]
    lengths: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Their size on disk."""
        lengths = [] if self.lengths is None else [self.lengths]
        return sum(tensor.nbytes for tensor in (self.keys, *lengths, *self.by_row.values(), *self.by_token.values()))

    @property
    def shapes(self) -> dict[str, tuple[object, ...]]:
        """What must be the same for all rows: what there is for each row or token, and how it is stored."""
        kinds = (("row", self.by_row), ("token", self.by_token))
        return {
            name: (kind, tuple(tensor.shape[1:]), tensor.dtype)
            for kind, tensors in kinds
            for name, tensor in tensors.items()
        }


class Shard:
    """A file of answers, of which only what is looked at comes into memory.

    Attributes:
        fingerprint: The name of the file that tells what the answers were made from.
        keys: ``(rows, 16)`` uint8.
        by_row: Tensors ``(rows, ...)`` by their names.
        by_token: Tensors ``(tokens, ...)`` by their names.
        offsets: ``(rows + 1,)`` integers: where the tokens of each row begin, and where the last one's end; None
            where nothing is stored by token.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.fingerprint: str = metadata["fingerprint"]
        self.keys: np.ndarray = tensors.pop(_KEYS).numpy()
        self.offsets: np.ndarray | None = tensors.pop(_OFFSETS).numpy() if _OFFSETS in tensors else None
        self.by_token = {name: tensors.pop(name) for name in metadata["by_token"].split()}
        self.by_row = tensors

    def of_row(self, name: str, row: int) -> Tensor:
        """What is stored for a row under a name: ``(...)``, or ``(tokens, ...)``."""
        if self.offsets is None or name in self.by_row:
            return self.by_row[name][row]
        return self.by_token[name][self.offsets[row] : self.offsets[row + 1]]


@dataclass
class ShardWriter:
    """Collects answers and writes a shard now and then.

    Attributes:
        folder: Where to.
        fingerprint: The name of the file that tells what the answers are made from.
        written: The names of the shards so far.
    """

    folder: Path
    fingerprint: str
    written: list[str] = field(default_factory=list)
    _waiting: list[Answers] = field(default_factory=list)
    _shapes: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def add(self, answers: Answers) -> None:
        """Take answers, on the CPU, and write what has been collected if it is time.

        Raises:
            InputError: They are of another shape than those before.
        """
        self._shapes = self._shapes or answers.shapes
        for name, shape in answers.shapes.items():
            if shape != self._shapes.get(name):
                raise InputError(
                    f"The teacher's {name} are {_described(self._shapes[name])} for some rows and {_described(shape)} "
                    "for others, so they depend on how rows are put together in batches and cannot be stored for each "
                    "row: use the teacher itself in place of a cache."
                )
        self._waiting.append(answers)
        size = sum(waiting.num_bytes for waiting in self._waiting)
        if size >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        if self._waiting:
            self.written.append(write_sealed(self.folder, "shard", ".safetensors", self._content()).name)
        self._waiting, self._since = [], time.monotonic()

    def _content(self) -> bytes:
        waiting, first = self._waiting, self._waiting[0]
        tensors = {_KEYS: torch.cat([answers.keys for answers in waiting])}
        tensors |= {name: torch.cat([answers.by_row[name] for answers in waiting]) for name in first.by_row}
        tensors |= {name: torch.cat([answers.by_token[name] for answers in waiting]) for name in first.by_token}
        if first.lengths is not None:
            lengths = torch.cat([answers.lengths for answers in waiting if answers.lengths is not None])
            tensors[_OFFSETS] = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return save(tensors, {"fingerprint": self.fingerprint, "by_token": " ".join(first.by_token)})


def _described(shape: tuple[object, ...]) -> str:
    kind, sizes, dtype = shape
    return f"{sizes} for each {kind}"
