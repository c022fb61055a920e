"""Build a teacher's cache, or use the one that is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import nn
from transformers import PreTrainedTokenizerBase, default_data_collator
from transformers.utils import logging

from hf_distill.errors import InputError
from hf_distill.padding import padding_collator
from hf_distill.padding_free import check_rows_stay_rows
from hf_distill.several_processes import (
    decided_by_main,
    failing_together,
    locked_by_main,
    this_process,
)
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.teachers.cache.answering import AnsweringTeacher
from hf_distill.teachers.cache.build_share import BuildShare
from hf_distill.teachers.cache.cache_folder import CacheFolder, read_fingerprint
from hf_distill.teachers.cache.cached_teacher import CachedTeacher
from hf_distill.teachers.cache.collated_sample import collated_sample, same_sample
from hf_distill.teachers.cache.description import TeacherDescription
from hf_distill.teachers.cache.fingerprint import Storage, check_rows, check_same, fingerprint
from hf_distill.teachers.cache.sealed_file import DamagedFile, UnseenFile, verify_sealed
from hf_distill.teachers.cache.shards import Shard, ShardWriter
from hf_distill.teachers.cache.teacher_rows import TeacherRows
from hf_distill.teachers.sparse_sampling import SparseSampling

logger = logging.get_logger(__name__)

LARGE_BYTES = 10**9
"""What the user is told about before it is written."""


def cache_teacher_outputs(
    teacher: nn.Module,
    dataset: Any,
    cache_dir: str | Path,
    data_collator: Callable | None = None,
    processing_class: Any = None,
    *,
    batch_size: int | None = None,
    storage_dtype: torch.dtype = torch.float32,
    needs: SignalNeeds = NOTHING_ELSE,
    sampling: SparseSampling | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: torch.device | str | None = None,
) -> CachedTeacher:
    """Let a teacher answer every row once and store that, or use the cache that is there.

    Each different row is answered once, the longest first. A build that was interrupted goes on where it stopped, and
    loses at most a minute of work. Several processes, all of which must call this, share the rows. A run that finds
    another one building waits for it. A cache that is complete serves any part of its rows in any order.

    Args:
        teacher: The teacher; afterwards it is as it was. On GPUs that have bf16 it answers in bf16.
        dataset: Rows as the trainer will be given them, with a length.
        cache_dir: A folder of its own, seen by all processes.
        data_collator: That of the training; as ``Trainer`` chooses it if not given. What it makes of the longest row
            is part of the fingerprint.
        processing_class: The tokenizer or processor that made the rows; one that is given becomes part of the
            fingerprint.
        batch_size: Rows that the teacher answers at once; as many as fit if not given.
        storage_dtype: ``torch.float32`` keeps answers in fp32 exactly; ``torch.float16`` with a relative error of up
            to 2^-11 (numbers below 6e-5 with an absolute one of up to 2^-25), ``torch.bfloat16`` of up to 2^-8.
        needs: What to store beside the logits, such as ``SignalNeeds(hidden_states=frozenset({12}))``;
            :func:`~hf_distill.needs_of_teacher` tells it from an objective.
        sampling: Store a sample of each distribution in place of all logits, for large vocabularies.
        settings: Whatever else decides the answers; compared with that of the cache, name by name.
        overwrite: Build anew, whatever cache is there.
        device: Where the teacher computes; that of this process if not given.

    Returns:
        What ``DistillationTrainer(teacher_model=...)`` takes in place of the teacher, which is no longer needed.

    Raises:
        CacheMismatch: The cache that is there was made from something else, or lacks rows.
        InputError: The cache is damaged; or the folder, the disk or the rows do not allow one.

    Example:
        >>> cached = cache_teacher_outputs(teacher, rows, "cache", processing_class=tokenizer)  # doctest: +SKIP
        >>> trainer = DistillationTrainer(student, cached, args, train_dataset=rows)  # doctest: +SKIP
    """
    device = torch.device(device) if device is not None else None
    state = this_process(device)
    with failing_together():
        storage = Storage(storage_dtype, needs, sampling)
        answering = AnsweringTeacher(teacher, storage, state.device if device is None else device)
        rows = TeacherRows(dataset, answering.inputs)
        collator = (
            data_collator if data_collator is not None else _default_collator(processing_class, answering.device)
        )
        check_rows_stay_rows(collator)
        rows.refuse_random(collator)
        keys = rows.keys[rows.unique]
        collated = collated_sample(answering, rows, collator)
        made_from = fingerprint(
            teacher, answering.compute_dtype, storage, processing_class, settings or {}, keys, collated
        )
        build = CacheBuild(CacheFolder(Path(cache_dir).expanduser()), answering, rows, collator, made_from)
    return build.run(batch_size, overwrite)


class CacheBuild:
    """One call of :func:`cache_teacher_outputs`; all processes go through it together.

    Args:
        folder: Where the cache is or will be.
        answering: The teacher.
        rows: What it is to answer.
        collator: Makes batches of them.
        made_from: The fingerprint of the cache as it would be made now.
    """

    def __init__(
        self,
        folder: CacheFolder,
        answering: AnsweringTeacher,
        rows: TeacherRows,
        collator: Callable,
        made_from: dict[str, Any],
    ) -> None:
        self.folder, self.answering, self.rows, self.collator = folder, answering, rows, collator
        self.made_from = made_from
        self._state = PartialState()
        self._path = str(folder.path)

    def run(self, batch_size: int | None, overwrite: bool) -> CachedTeacher:
        """Use the cache, or build it first."""
        index = None if overwrite else decided_by_main(lambda: self.folder.index)
        if index is not None:
            return self._existing(index)
        decided_by_main(partial(self.folder.create, overwrite))
        with locked_by_main(self.folder.lock, self._tell_waiting):
            index, begun = decided_by_main(partial(self._complete_or_begun, overwrite))
            if index is not None:
                return self._existing(index)
            names = self._answer(begun, batch_size)
            index = decided_by_main(partial(self._finish, begun, names))
            with failing_together():
                return CachedTeacher.of_verified(index)

    def _tell_waiting(self) -> None:
        if self._state.is_main_process:
            logger.warning(f"Another run is building the teacher's cache in {self._path!r}: waiting for it.")

    def _existing(self, index: Path) -> CachedTeacher:
        with failing_together():
            fingerprint_file, shards = self.folder.listed(index)
            found = read_fingerprint(fingerprint_file)["made_from"]
            collated = same_sample(found["collated"], self.answering, self.rows, self.collator)
            check_same(found, {**self.made_from, "collated": collated}, self._path, is_complete=True)
            for shard in shards[self._state.process_index :: self._state.num_processes]:
                verify_sealed(shard)
        with failing_together():
            cached = CachedTeacher.of_verified(index)
            check_rows(cached.count_missing(self.rows.keys), len(self.rows), self._path)
        return cached

    def _complete_or_begun(self, overwrite: bool) -> tuple[Path | None, str]:
        """The index if there is one, and otherwise the name of the fingerprint to go on with."""
        self.folder.clear_unfinished()
        if overwrite:
            self.folder.clear()
        if (index := self.folder.index) is not None:
            return index, ""
        begun = self.folder.fingerprint
        if begun is not None:
            found = read_fingerprint(begun)["made_from"]
            check_same(found, self.made_from, self._path, is_complete=False)
        else:
            self.folder.check_empty()
            teacher = TeacherDescription.of(self.answering.model).to_dict()
            begun = self.folder.write_fingerprint({"made_from": self.made_from, "teacher": teacher})
        return None, begun.name

    def _answer(self, begun: str, batch_size: int | None) -> list[str]:
        """Answer what is not answered yet; returns the names of all shards."""
        sound = self._sound_shards(begun)
        with failing_together():
            numbers = self.rows.not_in(list(sound.values()))
            writer = ShardWriter(self.folder.path, begun)
            share = BuildShare(self.answering, self.rows, self.collator, writer)
            with self.answering.at_work():
                self._check_disk(numbers)
                share.run(numbers, batch_size)
        return sorted({*sound, *gather_object(writer.written)})

    def _sound_shards(self, begun: str) -> dict[str, np.ndarray]:
        """The names and keys of what an interrupted build left; what is damaged or of another build is removed."""
        paths = decided_by_main(lambda: self.folder.shards)
        sound, bad = [], []
        with failing_together():
            for path in paths[self._state.process_index :: self._state.num_processes]:
                try:
                    keys = _keys_if_sound(path, begun)
                except UnseenFile:
                    continue
                if keys is None:
                    bad.append(path)
                else:
                    sound.append((path.name, keys))
        # Told by the process that has read them: the others may not see the files yet.
        sound, bad = gather_object(sound), gather_object(bad)
        decided_by_main(partial(self._remove, bad))
        return dict(sound)

    def _remove(self, bad: list[Path]) -> None:
        for path in bad:
            logger.warning(f"{str(path)!r} is damaged or of another cache: these rows are answered again.")
        self.folder.remove(bad)

    def _check_disk(self, numbers: np.ndarray) -> None:
        """Say what is about to be written, judged by the shortest row, and refuse if there is no room for it."""
        if not len(numbers):
            return
        example = numbers[-1:]
        batch = self.rows.collated(example, self.collator)
        answers = self.answering.as_stored(self.answering(batch, self.rows.keys[example]))
        of_tokens = sum(values.nbytes for values in answers.by_token.values())
        total = len(numbers) * (answers.num_bytes - of_tokens)
        if answers.lengths is not None:
            tokens = self.rows.count_tokens(numbers) or len(numbers) * int(answers.lengths)
            total += of_tokens * tokens // max(int(answers.lengths), 1)
        if self._state.is_main_process:
            is_large = total > LARGE_BYTES or bool(self.answering.storage.needs)
            tell = logger.warning if is_large else logger.info
            tell(f"The teacher answers {len(numbers)} different rows, {_size(total)} in {self._path!r}.")
        free = shutil.disk_usage(self.folder.path).free
        if total > free:
            raise InputError(
                f"The teacher's answers to {len(numbers)} rows take {_size(total)}, and {self._path!r} has "
                f"{_size(free)} free: name a folder with more room, store them in fp16 or bf16, or sample "
                "them (SparseSampling)."
            )

    def _finish(self, begun: str, names: list[str]) -> Path:
        try:
            answered = [Shard(self.folder.path / name).keys for name in names]
        except FileNotFoundError as error:
            raise InputError(
                f"A process has written answers to {self._path!r} that the main process does not see there ({error}): "
                "name a folder that all processes share."
            ) from error
        missing = self.rows.not_in(answered)
        if len(missing):
            raise InputError(
                f"{len(missing)} of {len(self.rows.unique)} different rows were not answered, so the cache in "
                f"{self._path!r} is not complete: run this again, with the same rows in all processes."
            )
        return self.folder.write_index(begun, names)


def _keys_if_sound(path: Path, begun: str) -> np.ndarray | None:
    """None if a shard is damaged, or was written under another fingerprint than the one that was begun."""
    try:
        verify_sealed(path)
    except DamagedFile:
        return None
    shard = Shard(path)
    return shard.keys if shard.fingerprint == begun else None


def _default_collator(processing_class: Any, device: torch.device) -> Callable:
    if isinstance(processing_class, PreTrainedTokenizerBase):
        return padding_collator(processing_class, device)
    return default_data_collator


def _size(num_bytes: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
