"""Finds examples by their keys."""

import numpy as np

from hf_distill.teachers.cache.keys import KEY_BYTES


class KeyTable:
    """The places of many keys, found by binary search: a table in Python would take ten times the memory.

    Args:
        keys: ``(count, 16)`` uint8. Of equal keys the first is found.
    """

    def __init__(self, keys: np.ndarray) -> None:
        comparable = as_comparable(keys)
        self._places = comparable.argsort(kind="stable")
        self._sorted = comparable[self._places]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """``(count,)`` integers: where each of ``(count, 16)`` keys stands, -1 for those that are not there."""
        wanted = as_comparable(keys)
        if not len(self._sorted):
            return np.full(len(wanted), -1)
        found = np.searchsorted(self._sorted, wanted).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[found] == wanted, self._places[found], -1)


def as_comparable(keys: np.ndarray) -> np.ndarray:
    """``(count,)`` byte strings for ``(count, 16)`` uint8, which numpy sorts and compares whole."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").reshape(-1)


def first_places(keys: np.ndarray) -> np.ndarray:
    """Where each different key stands first, in the order of the rows."""
    return np.sort(np.unique(as_comparable(keys), return_index=True)[1])
