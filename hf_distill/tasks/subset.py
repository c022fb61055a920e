"""A fixed random part of the rows, and a fingerprint of the rows that are used."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable

from datasets import Dataset

_SEED = 0


def take_subset(rows: Dataset, limit: int | None) -> Dataset:
    """Take `limit` rows at random, in their order, or all.

    The choice depends on the number of rows alone, not on a run's seed, so that runs with different seeds can be
    compared; a smaller subset is part of a larger one.
    """
    if limit is None or limit >= len(rows):
        return rows
    return rows.select(sorted(_order(rows)[:limit]), keep_in_memory=True)


def take_rest(rows: Dataset, limit: int | None) -> Dataset:
    """The rows that :func:`take_subset` with the same limit leaves out, in their order."""
    left = [] if limit is None else sorted(_order(rows)[limit:])
    return rows.select(left, keep_in_memory=True)


def _order(rows: Dataset) -> list[int]:
    order = list(range(len(rows)))
    random.Random(_SEED).shuffle(order)
    return order


def fingerprint(splits: Iterable[Dataset]) -> str:
    """SHA-256, in hexadecimal, over texts and labels in their order; the same rows from elsewhere give the same."""
    digest = hashlib.sha256()
    for rows in splits:
        columns = rows[:]
        for row in zip(*(columns[name] for name in sorted(columns)), strict=True):
            digest.update(json.dumps(row).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()
