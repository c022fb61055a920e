"""Puts a teacher's stored answers into the batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hf_distill.teachers.cache.keys import row_keys
from hf_distill.teachers.cache.open_cache import OpenCache
from hf_distill.teachers.cache.random_inputs import refuse_random_collator

_BATCHES_TO_CHECK = 4


class CachingCollator:
    """A collator of training rows that looks up each row's answers by its key.

    Args:
        collator: Makes the batch itself, of rows without the key column.
        cache: Where the answers are.
        key_column: A column of keys in hexadecimal digits, which rows have that the teacher read otherwise; the keys
            of other rows are computed from them.
        fields: What of the answers is put into a batch.
    """

    def __init__(self, collator: Callable, cache: OpenCache, key_column: str, fields: Sequence[str]) -> None:
        self.collator, self.cache, self.key_column, self.fields = collator, cache, key_column, fields
        self._batches_to_check = _BATCHES_TO_CHECK

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The batch and the teacher's answers to it.

        Raises:
            InputError: A row is not in the cache, or the collator draws its inputs anew each time.
        """
        inputs = self.cache.teacher.inputs
        if all(self.key_column in row for row in rows):
            keys = np.stack([np.frombuffer(bytes.fromhex(row[self.key_column]), dtype=np.uint8) for row in rows])
            rows = [{name: value for name, value in row.items() if name != self.key_column} for row in rows]
        else:
            keys = row_keys(rows, inputs)
            if self._batches_to_check > 0:
                self._batches_to_check -= 1
                refuse_random_collator(partial(self._collated, rows), inputs, type(self.collator).__name__)
        batch = self._collated(rows)
        return {**batch, **self.cache.batch_entries(keys, batch, self.fields)}

    def _collated(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        # The same rows are collated several times, and a collator may take something out of them.
        return self.collator([dict(row) for row in rows])
