"""All that the students of one task share: a teacher, its answers, the rows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import EvalPrediction, PreTrainedModel
from transformers.utils import logging

from hf_distill.ablation.settings import RunSettings
from hf_distill.arguments.model_arguments import CNN
from hf_distill.atomic_file import write_atomically
from hf_distill.errors import InputError
from hf_distill.evaluation.prediction import predict_logits
from hf_distill.many_students import Trained, changes_for_trial, train_and_score
from hf_distill.objectives.stages import needs_of_teacher
from hf_distill.signal_needs import NOTHING_ELSE
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.cache.stored_signals import stored_fields
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.distillation_run import DistillationRun
from hf_distill.workflow.models import Source, check_labels
from hf_distill.workflow.output_folder import TEACHER_CACHE_FOLDER
from hf_distill.workflow.teacher_finetuning import finetuned_teacher_folder
from hf_distill.workflow.transfer import AUGMENTED_FOLDER

logger = logging.get_logger(__name__)

TASK_FILE = "task.json"
_SETS_THE_LENGTH = {"num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"}


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """What the scores of a task are of.

    Attributes:
        metric: Higher is better.
        split: Whose rows are scored.
        rows: How many there are.
        teacher: Its own score; None if it is not defined.
        fingerprint: Of the labelled rows.
    """

    metric: str
    split: str
    rows: int
    teacher: float | None
    fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> TaskFacts | None:
        """What is written in a task's folder; None if nothing is."""
        try:
            return cls(**json.loads((folder / TASK_FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


class Bench:
    """Where the students of one task are made. Making one loads the task; only one process at a time may do that.

    Args:
        folder: Of the task.
        base: The config.
        variants: What each variant makes of it, by name.

    Raises:
        InputError: Something that was asked for cannot work, or the rows are not those of earlier scores.
    """

    def __init__(self, folder: Path, base: RunSettings, variants: Mapping[str, RunSettings]) -> None:
        self.folder, self.base, self.variants = folder, base, variants
        self._runs: dict[str, DistillationRun] = {}
        self._taught: dict[str, tuple[CachedTeacher | None, TaskData]] = {}
        run = self._new_run(base)
        self.split, rows = next(iter(run.data.evaluation.items()))
        self.metric = run.data.task.primary_metric
        known = TaskFacts.read(folder)
        fingerprint = run.data.task.source["fingerprint"]
        if known is not None and known.fingerprint != fingerprint:
            raise InputError(
                f"{str(folder)!r} holds scores on other rows than those that {run.data.task.name} has now; bring the "
                "old rows back, or name another output_dir."
            )
        self._teacher = run.teaching.first.source
        if base.models.finetune_teacher:
            self._teacher = self._finetuned(run)
        self.facts = known or TaskFacts(self.metric, self.split, len(rows), self._teacher_score(run), fingerprint)
        if known is None:
            write_atomically(folder / TASK_FILE, json.dumps(dataclasses.asdict(self.facts), indent=2) + "\n")

    def train(self, variant: str, changes: Mapping[str, Any], seed: int, scratch: Path) -> Trained:
        """Make, train and score a student.

        Args:
            variant: Its name.
            changes: What the variant sets.
            seed: Its own.
            scratch: For checkpoints.

        Raises:
            FloatingPointError: The training diverged.
        """
        settings = self.variants[variant]
        teacher, data = self.taught(settings)
        run = self._run(settings)
        args = dataclasses.replace(settings.args, **changes_for_trial(settings.args, scratch, seed))
        if not _SETS_THE_LENGTH & set(changes):
            args = self._as_long_as_full(args, data)
        student = self.student(settings, seed)
        rows = run.data.evaluation[self.split]
        return train_and_score(student, args, data, run.tokenizer, teacher, rows, self.metric)

    def student(self, settings: RunSettings, seed: int) -> PreTrainedModel:
        """The student before training: the same for all seeds, but for weights that are drawn.

        Args:
            settings: Of the variant.
            seed: Draws them.
        """
        run, models = self._run(settings), settings.models
        teacher = run.teaching.first_model if models.student_init == "pretrained" else run.teaching.load_first()
        takes_some_units = models.student_widths and models.student_init != "random"
        if takes_some_units and models.student_architecture != CNN:
            # The seed would draw other rows to choose them by.
            return run.start.student(teacher)
        return dataclasses.replace(run.start, args=dataclasses.replace(settings.args, seed=seed)).student(teacher)

    def taught(self, settings: RunSettings) -> tuple[CachedTeacher | None, TaskData]:
        """The teacher's answers, None if none of the variants on these rows asks it, and the rows to train on.

        Only one process at a time may call this for rows that it has not asked for yet.
        """
        key = _rows_key(settings)
        if key not in self._taught:
            run = self._run(settings)
            asking = [other for other in self.variants.values() if _rows_key(other) == key and _asks(other)]
            self._taught[key] = self._answered(run, asking, key) if asking else (None, run.data)
        return self._taught[key]

    def _answered(self, run: DistillationRun, asking: list[RunSettings], key: str) -> tuple[CachedTeacher, TaskData]:
        teacher, needs = run.teaching.load_first(), NOTHING_ELSE
        students: dict[str, PreTrainedModel] = {}
        for settings in asking:
            shape = json.dumps(vars(settings.models), sort_keys=True, default=str)
            if shape not in students:
                students[shape] = self.student(settings, settings.args.seed)
            needs |= needs_of_teacher(settings.args.objective(), students[shape], teacher)
        first, data = run.teaching.first, run.data
        if needs and first.data is not data:
            raise InputError(
                "A variant compares more than answers, and teacher and student have different tokenizers, so that "
                "what belongs to different tokens would be compared; use models with the same tokenizer."
            )
        digest = hashlib.sha256(" ".join([key, *stored_fields(needs)]).encode()).hexdigest()[:12]
        stored = cache_teacher_outputs(
            teacher,
            first.data.taught,
            self._cache_root / digest,
            first.data.collator,
            first.tokenizer,
            batch_size=self.base.cache.teacher_batch_size,
            storage_dtype=self.base.cache.storage_dtype,
            needs=needs,
            settings={"task": data.task.name, "max_seq_length": data.max_seq_length},
            device=self.base.args.device,
        )
        train = data.taught if first.data is data else stored.with_keys(data.taught, first.data.taught)
        return stored, run.transfer.choose(stored, dataclasses.replace(data, train=train))

    @property
    def _cache_root(self) -> Path:
        named = self.base.cache.teacher_cache_dir
        own = self.folder / TEACHER_CACHE_FOLDER
        return own if named in (None, "true") else Path(str(named)).expanduser() / self.folder.name

    def _as_long_as_full(self, args: Any, data: TaskData) -> Any:
        """As many optimiser steps as the config itself takes, where the rows are more or fewer."""
        rows = len(self.taught(self.base)[1].train)
        if len(data.train) == rows:
            return args
        return dataclasses.replace(args, max_steps=optimiser_steps(self.base, rows))

    def _finetuned(self, run: DistillationRun) -> Source:
        first, args = run.teaching.first, dataclasses.replace(self.base.args, output_dir=str(self.folder))
        folder = finetuned_teacher_folder(
            run.teaching.first_model, first.untrained, self.base.models, args, first.data, first.tokenizer
        )
        return Source.find(folder)

    def _teacher_score(self, run: DistillationRun) -> float | None:
        first = run.teaching.first
        first.finetuned = self._teacher
        model, rows = run.teaching.load_first(), first.data.evaluation[self.split]
        logits = predict_logits(model, rows, first.data.collator, self.base.args.per_device_eval_batch_size)
        columns = check_labels(model, run.data.task, "teacher")
        if columns is not None:
            logits = logits[:, columns]
        prediction = EvalPrediction(predictions=logits, label_ids=np.array(rows["labels"]))
        score = float(first.data.compute_metrics(prediction)[self.metric])
        return score if math.isfinite(score) else None

    def _run(self, settings: RunSettings) -> DistillationRun:
        """Models and rows of some settings, loaded once."""
        key = json.dumps([vars(settings.models), vars(settings.data)], sort_keys=True, default=str)
        if key not in self._runs:
            run = self._new_run(settings)
            rows = run.transfer.gather(run.data.max_seq_length)
            if rows is not None:
                run.data = run.teaching.add_transfer_rows(run.data, rows)
            run.teaching.first.finetuned = self._teacher
            if settings.models.student_init != "pretrained":
                run.teaching.first.model = None
            self._runs[key] = run
        return self._runs[key]

    def _new_run(self, settings: RunSettings) -> DistillationRun:
        """It checks that all can work; its folder is never written."""
        data = settings.data
        if data.augmentation:
            folder = data.augmentation_dir or str(self.folder / AUGMENTED_FOLDER)
            data = dataclasses.replace(data, augmentation_dir=folder)
        args = dataclasses.replace(settings.args, output_dir=str(self.folder / "run"), resume_from_checkpoint=None)
        cache = dataclasses.replace(settings.cache, teacher_cache_dir="true")
        return DistillationRun(settings.models, data, args, cache)


def optimiser_steps(settings: RunSettings, rows: int) -> int:
    """Of a whole training by one process, as ``Trainer`` counts them."""
    args = settings.args
    if args.max_steps > 0:
        return args.max_steps
    batches = (math.floor if args.dataloader_drop_last else math.ceil)(rows / args.train_batch_size)
    of_an_epoch = max(math.ceil(batches / args.gradient_accumulation_steps), 1)
    return math.ceil(args.num_train_epochs * of_an_epoch)


def _asks(settings: RunSettings) -> bool:
    return settings.args.objective().needs_teacher


def _rows_key(settings: RunSettings) -> str:
    """Equal where the same rows are read by the same student's tokenizer."""
    models = settings.models
    readers = [models.student_name_or_path, models.student_config_name_or_path, models.student_revision]
    return json.dumps([vars(settings.data), readers], sort_keys=True, default=str)
