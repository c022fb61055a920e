"""Make augmented rows once, and read them ever after."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from transformers.utils.logging import tqdm

from hf_distill.augmentation.augmented_rows import AugmentedRows
from hf_distill.augmentation.augmenter import Augmenter
from hf_distill.several_processes import decided_by_main, failing_together
from hf_distill.version import __version__

_ROWS_AT_ONCE = 64
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 20.0


def make_or_read(
    make_augmenter: Callable[[], Augmenter], folder: Path, has_pairs: bool, rows_at_once: int = _ROWS_AT_ONCE
) -> AugmentedRows:
    """The rows that an augmenter makes, from the file that an earlier call wrote, or made now and written.

    The file's name tells rows, settings and models: what was made otherwise is not read, and what a killed process
    began is made again. Several processes, all of which must call this, wait for the main one.

    Args:
        make_augmenter: Loads what makes them; called in the main process alone.
        folder: Where they are kept; it need not exist.
        has_pairs: Whether each row has two texts.
        rows_at_once: How many rows are looked at together; it decides nothing but the speed.
    """
    generation = _Generation(make_augmenter, folder, has_pairs, rows_at_once)
    key, is_there = decided_by_main(generation.begin)
    # The others hear of the main process from time to time, or they would take it for dead.
    while not is_there:
        is_there = decided_by_main(partial(generation.go_on, _SECONDS_BETWEEN_SIGNS_OF_LIFE))
    with failing_together():
        rows = AugmentedRows.load(folder, key, has_pairs)
        if rows is None:
            raise RuntimeError(f"The augmented rows in {str(folder)!r} were written and are not there.")
    return rows


class _Generation:
    """The main process at work, a while at a time."""

    def __init__(
        self, make_augmenter: Callable[[], Augmenter], folder: Path, has_pairs: bool, rows_at_once: int
    ) -> None:
        self._make_augmenter, self._folder, self._rows_at_once = make_augmenter, folder, rows_at_once
        self._made = AugmentedRows(has_pairs)

    def begin(self) -> tuple[str, bool]:
        """The key of the file, and whether it is there."""
        self._augmenter = self._make_augmenter()
        settings = json.dumps({"hf_distill": __version__, **self._augmenter.settings}, sort_keys=True)
        self._key = f"augmented-{hashlib.sha256(settings.encode()).hexdigest()[:32]}"
        if AugmentedRows.load(self._folder, self._key, self._made.has_pairs) is not None:
            return self._key, True
        rows = self._augmenter.rows
        # Equal rows would make equal rows.
        self._left = sorted({rows[number]: number for number in reversed(range(len(rows)))}.values())
        self._progress = tqdm(total=len(self._left), desc="Augmenting", unit=" rows")
        return self._key, False

    def go_on(self, seconds: float) -> bool:
        """Work for a while; tells whether the file is written."""
        end = time.monotonic() + seconds
        while self._left:
            numbers, self._left = self._left[: self._rows_at_once], self._left[self._rows_at_once :]
            for texts, source, kind in self._augmenter.of_rows(numbers):
                self._made.add(texts, source, kind)
            self._progress.update(len(numbers))
            if self._left and time.monotonic() >= end:
                return False
        self._progress.close()
        self._made.save(self._folder, self._key)
        return True
