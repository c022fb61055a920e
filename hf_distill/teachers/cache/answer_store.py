"""All answers of a cache, found by the keys of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from hf_distill.teachers.cache.key_table import KeyTable
from hf_distill.teachers.cache.shards import Shard


class AnswerStore:
    """The shards of a cache as one.

    Attributes:
        by_row: The names of what is stored for each row.
        by_token: The names of what is stored for each token of each row.

    Args:
        shards: At least one.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._table = KeyTable(np.concatenate([shard.keys for shard in shards]))
        self._ends = np.cumsum([len(shard.keys) for shard in shards])
        self.by_row, self.by_token = frozenset(shards[0].by_row), frozenset(shards[0].by_token)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """``(rows,)`` integers, the places of ``(rows, 16)`` keys; -1 for those that are not there."""
        return self._table.find(keys)

    def take(self, name: str, places: np.ndarray) -> list[Tensor]:
        """Views of what is stored under a name at some places: ``(...)`` or ``(tokens, ...)`` each."""
        return [shard.of_row(name, row) for shard, row in self._located(places)]

    def lengths(self, places: np.ndarray) -> Tensor:
        """``(rows,)`` integers, the tokens at some places, where anything is stored by token."""
        name = next(iter(self.by_token))
        return torch.tensor([len(values) for values in self.take(name, places)])

    def _located(self, places: np.ndarray) -> Iterable[tuple[Shard, int]]:
        numbers = np.searchsorted(self._ends, places, side="right")
        for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
            shard = self._shards[number]
            yield shard, place - int(self._ends[number]) + len(shard.keys)
