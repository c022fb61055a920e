"""The rows that a teacher is to answer, each different one once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.trainer_utils import has_length

from hf_distill.errors import InputError
from hf_distill.row_lengths import row_lengths
from hf_distill.teachers.cache.key_table import as_comparable, first_places
from hf_distill.teachers.cache.keys import dataset_keys, row_keys
from hf_distill.teachers.cache.random_inputs import WAY_OUT, refuse_random_collator
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

_LABELS = {"labels", "label", "label_ids"}
_SAMPLE = 32


class TeacherRows:
    """A view of a data set: the columns that a teacher reads and its labels, which a collator may ask for.

    Attributes:
        keys: ``(rows, 16)`` uint8, those of all rows.
        unique: The numbers of the rows that differ, the longest first, so that little is padding and a lack of memory
            shows at once.

    Args:
        dataset: Rows before collation.
        inputs: What the teacher reads.

    Raises:
        InputError: The data set has no length or no rows, or none of its columns is the teacher's.
    """

    def __init__(self, dataset: Any, inputs: TeacherInputs) -> None:
        size = len(dataset) if has_length(dataset) else None
        if size is None:
            raise InputError(
                f"The rows come as a stream ({type(dataset).__name__} has no length), so they cannot be looked "
                "through before training: use rows with a length, or the teacher itself in place of a cache."
            )
        if size == 0:
            raise InputError("There are no rows for the teacher to answer: give at least one.")
        self._inputs = inputs
        self._kept = inputs.names | _LABELS
        self._whole = self._dataset = dataset
        if isinstance(dataset, Dataset) and dataset.format["type"] != "custom":
            self._dataset = dataset.select_columns([name for name in dataset.column_names if name in self._kept])
        first = dataset[0]
        if not inputs.among(first):
            raise InputError(
                f"The rows have {', '.join(sorted(first))}, none of which the teacher's forward takes "
                f"({', '.join(sorted(inputs.names))}): tokenise them first."
            )
        self.keys = dataset_keys(self._dataset, inputs)
        self.unique = self._longest_first(first_places(self.keys))

    def __len__(self) -> int:
        """All rows, equal ones too."""
        return len(self.keys)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A row."""
        return {name: value for name, value in self._dataset[row].items() if name in self._kept}

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        """Several rows, which Arrow reads faster at once."""
        if isinstance(self._dataset, Dataset):
            fetched = self._dataset.__getitems__(rows)
            return [{name: value for name, value in row.items() if name in self._kept} for row in fetched]
        return [self[row] for row in rows]

    def collated(self, numbers: np.ndarray, collator: Callable) -> Any:
        """A batch.

        Args:
            numbers: Of its rows.
            collator: Makes a batch of rows.

        Raises:
            InputError: The rows are no longer what they were, or the collator reads a column that they do not have.
        """
        rows = self.__getitems__(numbers.tolist())
        if not np.array_equal(row_keys(rows, self._inputs), self.keys[numbers]):
            raise InputError(
                "The rows of the data set are other ones each time that they are read (a random transform), so what "
                f"the teacher says to them cannot be stored: {WAY_OUT}."
            )
        try:
            return collator(rows)
        except KeyError:
            # Most collators cannot pad what a model does not read, so a row is given whole only where it must be.
            return self._collated_whole(numbers, collator)

    def _collated_whole(self, numbers: np.ndarray, collator: Callable) -> Any:
        rows = [dict(self._whole[row]) for row in numbers.tolist()]
        columns = ", ".join(sorted(rows[0]))
        try:
            return collator(rows)
        except KeyError as error:
            raise InputError(
                f"The collator ({type(collator).__name__}) reads the column {error}, and the rows have {columns}: "
                "add that column, or use a collator that does not read it."
            ) from error

    def count_tokens(self, numbers: np.ndarray) -> int | None:
        """The number of tokens that some rows are answered with, where that is one for each token; None if unknown."""
        lengths = row_lengths(self._dataset, "labels" if self._inputs.reads_labels else "input_ids")
        return None if lengths is None else int(np.asarray(lengths)[numbers].sum())

    def refuse_random(self, collator: Callable) -> None:
        """Check on a sample that rows and collator give the same each time.

        Raises:
            InputError: They do not.
        """
        numbers = self.unique[:: max(len(self.unique) // _SAMPLE, 1)][:_SAMPLE]
        refuse_random_collator(partial(self.collated, numbers, collator), self._inputs, type(collator).__name__)

    @property
    def sample(self) -> int:
        """The number of one row, the same in whatever order the rows are: the longest, of which a cut shows most."""
        lengths, rows = row_lengths(self._dataset), self.unique
        if lengths is not None:
            sizes = np.asarray(lengths)[rows]
            rows = rows[sizes == sizes.max()]
        return int(rows[as_comparable(self.keys[rows]).argsort()[0]])

    def _longest_first(self, rows: np.ndarray) -> np.ndarray:
        lengths = row_lengths(self._dataset)
        if lengths is None:
            return rows
        return rows[np.argsort(-np.asarray(lengths)[rows], kind="stable")]

    def not_in(self, answered: Sequence[np.ndarray]) -> np.ndarray:
        """The numbers of the different rows whose keys are not among those answered, ``(count, 16)`` uint8 each."""
        if not answered:
            return self.unique
        done = np.isin(as_comparable(self.keys[self.unique]), as_comparable(np.concatenate(answered)))
        return self.unique[~done]
