"""A teacher that has answered already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor, nn

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.padding_free import check_rows_stay_rows
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.signals import Signals, SparseLogits
from hf_distill.teachers.cache.cache_folder import CacheFolder
from hf_distill.teachers.cache.caching_collator import CachingCollator
from hf_distill.teachers.cache.fingerprint import check_rows
from hf_distill.teachers.cache.keys import dataset_keys
from hf_distill.teachers.cache.open_cache import OpenCache
from hf_distill.teachers.cache.sealed_file import WAYS_OUT, verify_sealed
from hf_distill.teachers.cache.stored_signals import from_store, stored_fields
from hf_distill.teachers.label_matching import label_names, match_labels
from hf_distill.teachers.pairing import is_classifier


class CachedTeacher:
    """The answers of a teacher, itself needed no more, to rows that may come in any order and in any batch.

    It is a :class:`~hf_distill.teachers.teacher.Teacher`. Opening a cache checks every file of it.

    Args:
        cache_dir: A cache that :func:`cache_teacher_outputs` has completed.

    Raises:
        InputError: There is no complete cache, or a file of it is damaged or missing.

    Example:
        >>> trainer = DistillationTrainer(student, CachedTeacher("cache"), args, train_dataset=rows)  # doctest: +SKIP
    """

    def __init__(self, cache_dir: str | Path) -> None:
        for shard in CacheFolder(Path(cache_dir)).listed()[1]:
            verify_sealed(shard)
        self._use(OpenCache(Path(cache_dir)))

    @classmethod
    def of_verified(cls, cache_dir: Path) -> CachedTeacher:
        """Open a cache whose shards have been checked already."""
        cached = cls.__new__(cls)
        cached._use(OpenCache(cache_dir))
        return cached

    def _use(self, cache: OpenCache) -> None:
        self._cache = cache
        self._class_order: list[int] | None = None
        self._class_index: Tensor | None = None
        self._needs = NOTHING_ELSE

    @property
    def input_names(self) -> frozenset[str]:
        """What the teacher itself read, the key column, and the entries that the collator adds."""
        entries = {self._cache.entry(field) for field in self._cache.fields}
        return self._cache.teacher.inputs.names | entries | {self.key_column}

    @property
    def key_column(self) -> str:
        """Of rows that this teacher read in another tokenization: the keys of what it read, in hexadecimal digits."""
        return self._cache.entry("key")

    def count_missing(self, keys: np.ndarray) -> int:
        """How many of ``(rows, 16)`` uint8 keys are not in the cache."""
        return int((self._cache.store.find(keys) < 0).sum())

    def with_keys(self, rows: Dataset, teacher_rows: Any) -> Dataset:
        """Rows for a student with another tokenizer than this teacher's.

        Args:
            rows: As the student reads them.
            teacher_rows: The same examples in the same order as the teacher read them.

        Returns:
            ``rows`` with the column :attr:`key_column`.

        Raises:
            CacheMismatch: A row of the teacher's is not in the cache.
            InputError: There are more of one than of the other.
        """
        if len(rows) != len(teacher_rows):
            raise InputError(
                f"There are {len(rows)} rows for the student and {len(teacher_rows)} for the teacher, so they are not "
                "the same examples: tokenise the same rows for both, and filter neither."
            )
        keys = dataset_keys(teacher_rows, self._cache.teacher.inputs)
        check_rows(self.count_missing(keys), len(keys), str(self._cache.path))
        if self.key_column in rows.column_names:
            rows = rows.remove_columns(self.key_column)
        return rows.add_column(self.key_column, [key.tobytes().hex() for key in keys])

    @property
    def shape(self) -> ModelShape:
        """How deep and how wide the teacher was."""
        return self._cache.teacher.shape

    def pair_with(self, student: nn.Module, needs: SignalNeeds, tokenizer: Any = None) -> None:
        """Check that classes fit and that what is needed is stored.

        The tokenizer needs no check: rows of another vocabulary than the teacher's are not in the cache.

        Raises:
            InputError: They do not; the message says in what.
        """
        missing = sorted(set(stored_fields(needs)) - self._cache.fields)
        if missing:
            raise InputError(
                f"The objective needs {', '.join(missing)} of the teacher, and its cache {str(self._cache.path)!r} "
                f"does not hold that: make it with needs=needs_of_teacher(objective, student, teacher); {WAYS_OUT}."
            )
        self._needs = needs
        teacher = self._cache.teacher
        self._class_order = self._class_index = None
        if teacher.label_names is not None and is_classifier(student):
            self._class_order = match_labels(label_names(student), teacher.label_names)

    def prepare(self, accelerator: Accelerator, device: torch.device) -> None:
        """Put the order of the classes where the answers will be."""
        if self._class_order is not None:
            self._class_index = torch.tensor(self._class_order, device=device)

    def collator(self, collator: Callable) -> Callable:
        """A collator that adds the answers to each batch.

        Raises:
            InputError: It joins the rows of a batch.
        """
        check_rows_stay_rows(collator)
        fields = [*self._answer_fields, *stored_fields(self._needs)]
        return CachingCollator(collator, self._cache, self.key_column, fields)

    def __call__(self, inputs: Mapping[str, Any], needs: SignalNeeds = NOTHING_ELSE) -> Signals:
        """The stored answers in fp32, the classes in the student's order.

        Args:
            inputs: A batch of this teacher's collator.
            needs: What to hand over beside the answers: part of what it was paired for.

        Raises:
            InputError: The batch was made by another collator.
        """
        answers = {field: self._entry(inputs, field) for field in self._answer_fields}
        hidden_states, attention = from_store(partial(self._entry, inputs), needs)
        sampling = self._cache.made_from["sampling"]
        if sampling is None:
            signals = Signals(answers["logits"], hidden_states=hidden_states, attention=attention)
        else:
            sparse = SparseLogits(**answers, temperature=sampling["temperature"])
            signals = Signals(None, sparse, hidden_states=hidden_states, attention=attention)
        return signals.in_class_order(self._class_index)

    @property
    def _answer_fields(self) -> list[str]:
        return sorted(self._cache.fields - set(self._cache.made_from["inside"]))

    def _entry(self, inputs: Mapping[str, Any], field: str) -> Tensor:
        value = inputs.get(self._cache.entry(field))
        if value is None:
            raise InputError(
                f"The batch has no {self._cache.entry(field)!r}: collate the training rows with "
                "`teacher.collator(data_collator)`, as DistillationTrainer does, and keep what it adds."
            )
        return value.float() if value.is_floating_point() else value
