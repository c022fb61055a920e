"""The rows that one process lets the teacher answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from accelerate import PartialState
from accelerate.utils import find_executable_batch_size
from transformers.utils.logging import tqdm

from hf_distill.teachers.cache.answering import AnsweringTeacher
from hf_distill.teachers.cache.shards import Answers, ShardWriter
from hf_distill.teachers.cache.teacher_rows import TeacherRows

FIRST_BATCH_SIZE = {"cpu": 32}
FIRST_BATCH_SIZE_OF_GPUS = 1024
"""What is tried first, then half of it and so on; on CPUs larger batches are slower."""


class BuildShare:
    """Answers this process's part of some rows.

    Args:
        answering: The teacher, at work.
        rows: All rows.
        collator: Makes batches of them.
        writer: Where the answers go.
    """

    def __init__(
        self, answering: AnsweringTeacher, rows: TeacherRows, collator: Callable, writer: ShardWriter
    ) -> None:
        self._answering, self._rows, self._collator, self._writer = answering, rows, collator, writer
        self._waiting: Answers | None = None

    def run(self, numbers: np.ndarray, batch_size: int | None) -> None:
        """Answer every n-th batch, n being the number of processes.

        Args:
            numbers: Of the rows that all processes answer together.
            batch_size: Rows in a batch; as many as fit if None.
        """
        state = PartialState()
        first_size = batch_size or FIRST_BATCH_SIZE.get(self._answering.device.type, FIRST_BATCH_SIZE_OF_GPUS)
        batches = _batches(numbers, min(first_size, -(-len(numbers) // state.num_processes)))
        self._left = np.concatenate([numbers[:0], *batches[state.process_index :: state.num_processes]])
        with tqdm(
            total=len(self._left), desc="The teacher answers", unit=" rows", disable=not state.is_main_process
        ) as self._progress:
            if batch_size is not None:
                self._answer(batch_size)
            else:
                self._answer_in_the_largest_batches(first_size)

    def _answer_in_the_largest_batches(self, batch_size: int) -> None:
        def halved() -> int:
            nonlocal batch_size
            batch_size //= 2
            return batch_size

        find_executable_batch_size(self._answer, batch_size, halved)()

    def _answer(self, batch_size: int) -> None:
        """Answer what is left; after an error what was stored before it is not lost, and the rest is still left."""
        self._waiting = None
        for numbers in _batches(self._left, batch_size):
            batch = self._rows.collated(numbers, self._collator)
            # A GPU has computed while the next rows were read; only now are its answers waited for.
            self._store()
            self._waiting = self._answering(batch, self._rows.keys[numbers])
        self._store()
        self._writer.flush()

    def _store(self) -> None:
        if self._waiting is not None:
            answers, self._waiting = self._waiting, None
            self._writer.add(self._answering.as_stored(answers))
            self._left = self._left[len(answers.keys) :]
            self._progress.update(len(answers.keys))


def _batches(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    return [numbers[start : start + size] for start in range(0, len(numbers), max(size, 1))]
