"""A complete cache, opened for reading: rows in, batch entries out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.teachers.cache.answer_store import AnswerStore
from hf_distill.teachers.cache.cache_folder import CacheFolder, read_fingerprint
from hf_distill.teachers.cache.description import TeacherDescription
from hf_distill.teachers.cache.sealed_file import DIGEST_DIGITS, WAYS_OUT
from hf_distill.teachers.cache.shards import Shard
from hf_distill.teachers.cache.spans import Spans


class OpenCache:
    """The stored answers, memory-mapped. Another process that receives it opens the files again.

    Attributes:
        path: The folder.
        name: ``teacher_`` and the first digits of the fingerprint: what its batch entries are called.
        made_from: The fingerprint.
        teacher: What must be known of the teacher.
        store: The answers.

    Args:
        path: A folder whose shards have been checked, or the index in it, which a shared file system may not list yet.

    Raises:
        InputError: There is no complete cache, or one of its smaller files is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._index = path if path.suffix == ".json" else None
        self.path = path.parent if self._index is not None else path
        fingerprint, shards = CacheFolder(self.path).listed(self._index)
        content = read_fingerprint(fingerprint)
        self.made_from: dict[str, Any] = content["made_from"]
        self.teacher = TeacherDescription.from_dict(content["teacher"])
        self.name = f"teacher_{fingerprint.stem[-DIGEST_DIGITS:][:8]}"
        self.store = AnswerStore([Shard(shard) for shard in shards])

    def __reduce__(self) -> tuple[type[OpenCache], tuple[Path]]:
        """The path is all that another process needs."""
        return OpenCache, (self._index or self.path,)

    @property
    def fields(self) -> frozenset[str]:
        """What is stored, such as ``logits``."""
        return self.store.by_row | self.store.by_token

    def entry(self, field: str) -> str:
        """The name of a field in a batch."""
        return f"{self.name}_{field}"

    def batch_entries(self, keys: np.ndarray, batch: Mapping[str, Any], fields: Collection[str]) -> dict[str, Tensor]:
        """What is stored for the rows of a batch, in the storage dtype.

        Args:
            keys: ``(rows, 16)`` uint8.
            batch: The rows collated, whose padding is followed.
            fields: Which of what is stored.

        Returns:
            By the names of the entries, ``(rows, ...)`` or ``(rows, sequence, ...)`` tensors.

        Raises:
            InputError: A row is not in the cache, or the batch has other tokens than the teacher saw.
        """
        places = self.store.find(keys)
        missing = int((places < 0).sum())
        if missing:
            raise InputError(
                f"{missing} of {len(keys)} rows of a batch are not in the teacher's cache {str(self.path)!r}: it was "
                "made from other rows, or from the same ones tokenised or cut otherwise, or a transform changes them "
                f"as they are read; {WAYS_OUT}."
            )
        store = self.store
        entries = {
            self.entry(name): torch.stack(store.take(name, places)) for name in store.by_row.intersection(fields)
        }
        by_token = store.by_token.intersection(fields)
        if by_token:
            spans = self._spans(places, batch)
            entries |= {self.entry(name): spans.put_back(torch.cat(store.take(name, places))) for name in by_token}
        return entries

    def _spans(self, places: np.ndarray, batch: Mapping[str, Any]) -> Spans:
        spans, lengths = Spans.of(batch, self.teacher.inputs.is_encoder_decoder), self.store.lengths(places)
        if spans is None or not torch.equal(spans.lengths, lengths):
            found = "none" if spans is None else spans.lengths.tolist()
            raise InputError(
                f"The teacher saw rows of {lengths.tolist()} tokens, and the batch has {found} attended ones, so its "
                "answers do not line up: use the collator and the tokens that the cache was made with, and rows with "
                "an attention_mask where they are padded."
            )
        if not spans.answer_all_labels(batch, self.teacher.predicts_next_token):
            raise InputError(
                "The batch has labels where the teacher saw padding, to which it has no answer: set the labels of "
                "padding to -100, and with padding on the left also that of the first token, which is predicted from "
                "padding."
            )
        return spans
