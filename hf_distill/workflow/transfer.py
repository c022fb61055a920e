"""The rows of a run that have no label: gathered, made from others, and chosen by what the teacher says to them."""

from __future__ import annotations

import dataclasses
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers.utils import logging

from hf_distill.arguments import DataArguments, DistillationTrainingArguments
from hf_distill.augmentation import AugmentedRows, make_or_read
from hf_distill.errors import InputError
from hf_distill.tasks import Task
from hf_distill.tasks.task import REGRESSION
from hf_distill.teachers.teacher import Teacher
from hf_distill.workflow.augmenters import AugmenterSource
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.teaching import Teaching
from hf_distill.workflow.transfer_answers import differing, row_confidence, stored_logits

logger = logging.get_logger(__name__)

AUGMENTED_FOLDER = "augmented_rows"
_SEED = 0


class TransferSet:
    """What a student learns from its teacher alone.

    Making one checks what was asked for; nothing is made or written yet.

    Args:
        arguments: Which rows.
        args: The run.
        task: Its labelled rows, and those that came without a label.
        teaching: The teachers, checked against the student.

    Attributes:
        report: What was counted, for the report; empty where every row has a label.

    Raises:
        InputError: Something that was asked for cannot work.
    """

    def __init__(
        self, arguments: DataArguments, args: DistillationTrainingArguments, task: Task, teaching: Teaching
    ) -> None:
        self.arguments, self.task = arguments, task
        self._is_cached = teaching.answers_before_training
        self.report: dict[str, Any] = {}
        self._augmented: AugmentedRows | None = None
        self._augmenters: AugmenterSource | None = None
        if task.unlabelled is not None or arguments.augmentation:
            self._check(args)
        if arguments.augmentation:
            own = Path(str(args.output_dir)) / AUGMENTED_FOLDER
            self._folder = own if arguments.augmentation_dir is None else Path(arguments.augmentation_dir).expanduser()
            self._augmenters = AugmenterSource(arguments, task, teaching)

    def _check(self, args: DistillationTrainingArguments) -> None:
        if not args.objective().needs_teacher:
            raise InputError(
                "Only labels are learnt from (soft_target_weight and all weights of layers and contrast are 0), and "
                "rows without one teach what the teacher says; set one of these above 0, or take away the rows "
                "without a label and the augmentation."
            )
        if self.arguments.unlabelled_min_confidence is None:
            return
        if self.task.problem_type == REGRESSION:
            raise InputError(
                f"unlabelled_min_confidence is set, and the task {self.task.name!r} asks for a score, of which a "
                "teacher does not say how sure it is; remove it."
            )
        if not self._is_cached:
            raise InputError(
                "unlabelled_min_confidence is set, and the teacher answers at every step, too late to choose rows by "
                "its answers; set teacher_cache_dir: true."
            )

    def gather(self, max_length: int) -> Dataset | None:
        """The texts of all rows without a label, the augmented ones last; None if there are none.

        Augmented rows are made now, unless an earlier run has kept them; the first teacher must still be as it was
        published.

        Args:
            max_length: Tokens to which texts are cut.
        """
        parts = [] if self.task.unlabelled is None else [self.task.unlabelled]
        if self._augmenters is not None:
            make = partial(self._augmenters.make, max_length)
            self._augmented = make_or_read(make, self._folder, self._augmenters.has_pairs)
            if len(self._augmented):
                parts.append(self._augmented.to_dataset())
        if not parts:
            return None
        rows = concatenate_datasets(parts)
        self.report = {"labelled_rows": len(self.task.train), "unlabelled_rows": len(self.task.unlabelled or [])}
        if self._augmented is not None:
            self.report["augmented_rows"] = _count(self._augmented.kinds)
        logger.info(f"Rows without a label: {len(rows):,}, beside {len(self.task.train):,} with one.")
        return rows

    def choose(self, teacher: Any, data: TaskData) -> TaskData:
        """The rows that the student is trained on, mixed as asked for.

        Args:
            teacher: What answers, stored or live.
            data: With all rows in ``train``, those with a label first, as :attr:`TaskData.taught` has them.

        Raises:
            InputError: The teacher is sure of no row without a label.
        """
        if not self.report:
            return data
        kept = self._kept(teacher, data) if self._is_cached else np.arange(len(self.task.train), len(data.train))
        chosen = np.concatenate([self._labelled(len(kept)), kept])
        self.report["rows_of_an_epoch"] = {"labelled": len(chosen) - len(kept), "unlabelled": len(kept)}
        return dataclasses.replace(data, train=data.train.select(chosen.tolist(), keep_in_memory=True))

    def _kept(self, teacher: Teacher, data: TaskData) -> np.ndarray:
        """The numbers of the rows without a label that stay, by what the teacher has said to them."""
        numbers = np.arange(len(self.task.train), len(data.train))
        least = self.arguments.unlabelled_min_confidence
        if least is None and self._augmented is None:
            return numbers
        logits = stored_logits(teacher, data.train, data.collator, self.task.problem_type)
        if self._augmented is not None:
            self._compare_with_sources(logits)
        if least is None:
            return numbers
        sure = row_confidence(logits[numbers], self.task.problem_type)
        kept = numbers[sure >= least]
        if not len(kept):
            raise InputError(
                f"unlabelled_min_confidence is {least}, and of none of the {len(numbers)} rows without a label the "
                f"teacher is so sure, {sure.max():.3f} at most; lower it."
            )
        self.report["confident_rows"] = {"kept": len(kept), "of": len(numbers), "at_least": least}
        logger.info(f"The teacher is sure ({least:g} or more) of {len(kept):,} of {len(numbers):,} unlabelled rows.")
        return kept

    def _compare_with_sources(self, logits: np.ndarray) -> None:
        augmented = self._augmented
        if augmented is None or not len(augmented):
            return
        differences = differing(logits[-len(augmented) :], logits[np.array(augmented.sources)], self.task.problem_type)
        is_score = self.task.problem_type == REGRESSION
        name = "mean_difference_from_source" if is_score else "labelled_unlike_source"
        kinds = np.array(augmented.kinds)
        shares = {kind: round(float(differences[kinds == kind].mean()), 4) for kind in sorted(set(augmented.kinds))}
        self.report[name] = shares
        shown = ", ".join(f"{kind} {share}" for kind, share in shares.items())
        what = (
            "mean difference between the teacher's scores" if is_score else "share that the teacher labels otherwise"
        )
        logger.info(f"Augmented rows and their sources, {what}: {shown}.")

    def _labelled(self, unlabelled: int) -> np.ndarray:
        """The numbers of the labelled rows, repeated as ``unlabelled_ratio`` wants it."""
        count = len(self.task.train)
        ratio = self.arguments.unlabelled_ratio
        wanted = count if ratio is None else max(-int(-unlabelled // ratio), count)
        times, rest = divmod(wanted, count)
        once_more = sorted(random.Random(_SEED).sample(range(count), rest))
        return np.sort(np.concatenate([np.repeat(np.arange(count), times), np.array(once_more, dtype=np.int64)]))


def _count(kinds: list[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
