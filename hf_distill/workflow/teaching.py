"""Who teaches in a run: one teacher or several, live or from their caches, each reading the rows in its own way."""

from __future__ import annotations

import dataclasses
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import release_memory
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.errors import InputError
from hf_distill.objectives.stages import needs_of_teacher
from hf_distill.signal_needs import SignalNeeds
from hf_distill.tasks import Task
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.pairing import check_pair
from hf_distill.teachers.teacher import Teacher
from hf_distill.workflow.answer_time import answer_before_training
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.models import Source
from hf_distill.workflow.output_folder import TEACHER_CACHE_FOLDER, check_cache_folder
from hf_distill.workflow.teacher_finetuning import finetuned_teacher_folder

logger = logging.get_logger(__name__)


@dataclass(eq=False)
class TeachingModel:
    """One of the teachers.

    Attributes:
        source: Its checkpoint.
        tokenizer: Its own; for images its image processor.
        model: None while it is not in memory.
        untrained: Its weights that no checkpoint held.
        finetuned: Where it was saved after fine-tuning; None if it teaches as it was published.
        data: The task as it reads it: the student's own object where they read alike. Set when the rows are prepared.
    """

    source: Source
    tokenizer: Any
    model: PreTrainedModel | None = None
    untrained: list[str] = field(default_factory=list)
    finetuned: Source | None = None
    data: TaskData = field(init=False)


class Teaching(ABC):
    """The teachers of a run, and how they answer.

    Making one loads the first teacher, whose layers the student may start from, and what all of them read with.

    Args:
        models: The arguments that name them.
        cache: Whether they answer before training, and where their answers are kept.
        args: The run.
        task: What they are to teach.

    Raises:
        InputError: The first teacher, or what one reads with, cannot be loaded or cannot teach this task.
    """

    def __init__(
        self, models: ModelArguments, cache: TeacherCacheArguments, args: DistillationTrainingArguments, task: Task
    ) -> None:
        self.models, self.cache, self.args, self.task = models, cache, args, task
        if len(models.teacher_names) > 1 and args.objective().looks_inside:
            raise InputError(
                f"The objective compares more than answers, and there are {len(models.teacher_names)} teachers, whose "
                "layers have no mean; leave only soft_target_weight and hard_target_weight above 0, or name one "
                "teacher."
            )
        revisions = [models.teacher_revision] + [None] * (len(models.teacher_names) - 1)
        sources = [Source.find(*named) for named in zip(models.teacher_names, revisions, strict=True)]
        self.teachers = [TeachingModel(source, self._load_reader(source)) for source in sources]
        self.first = self.teachers[0]
        self.load_published(self.first)
        self.answers_before_training = False
        self._needs = SignalNeeds()

    @property
    def first_model(self) -> PreTrainedModel:
        """The first teacher, while it is in memory."""
        return in_memory(self.first)

    @abstractmethod
    def _load_reader(self, source: Source) -> Any:
        """What makes inputs of rows for a checkpoint: its tokenizer or image processor."""

    @abstractmethod
    def _load_with_head(self, teacher: TeachingModel) -> tuple[PreTrainedModel, list[str]]:
        """A teacher as it was published, and its weights that no checkpoint held."""

    @abstractmethod
    def load_finished(self, source: Source, tokenizer: Any) -> PreTrainedModel:
        """A classifier of the task in fp32, as it was saved, ready to answer.

        Args:
            source: Its checkpoint.
            tokenizer: What it reads with.
        """

    @property
    @abstractmethod
    def described_reading(self) -> str:
        """How what the teachers read with compares to the student's, in words; empty where there is nothing to say."""

    def load_published(self, teacher: TeachingModel) -> None:
        """Bring a teacher into memory as it was published."""
        teacher.model, teacher.untrained = self._load_with_head(teacher)

    def _decide_when_to_answer(self, needs_cache: bool = False) -> None:
        """Before training or at every step.

        Rows that are augmented when the run begins are not counted among those of an epoch.

        Args:
            needs_cache: A teacher cannot read what the student reads.
        """
        rows = len(self.task.train) + len(self.task.unlabelled or [])
        self.answers_before_training = answer_before_training(self.cache, self.args, rows, needs_cache)
        if self.answers_before_training and not self._is_in_run:
            check_cache_folder(self._root, Path(str(self.args.output_dir)))

    def _check_against(self, student: PreTrainedModel, teacher: TeachingModel) -> PreTrainedModel:
        """Check that a teacher can teach the student, and know what it is to be asked for beside its answers.

        Returns:
            The teacher, no longer in memory behind this where its turn to answer comes later.
        """
        if teacher.model is None:
            self.load_published(teacher)
        model = in_memory(teacher)
        check_pair(student, model, teacher.tokenizer)
        if teacher is self.first:
            self._needs = needs_of_teacher(self.args.objective(), student, model)
        if teacher is not self.first and self.answers_before_training:
            # Loaded again when its turn comes, so that no two share the memory.
            teacher.model = None
        return model

    def add_transfer_rows(self, data: TaskData, rows: Dataset) -> TaskData:
        """Let every teacher answer further rows too.

        Args:
            data: The student's rows.
            rows: Those without a label.

        Returns:
            The student's rows with these.
        """
        extended = data.with_transfer(rows)
        for teacher in self.teachers:
            teacher.data = extended if teacher.data is data else teacher.data.with_transfer(rows)
        return extended

    def finetune_first(self) -> None:
        """Train the first teacher on the task, or take the one that an earlier run trained in the same way."""
        first = self.first
        folder = finetuned_teacher_folder(
            self.first_model, first.untrained, self.models, self.args, first.data, first.tokenizer
        )
        first.finetuned = Source.find(folder)
        first.model = self.load_first()

    def load_first(self) -> PreTrainedModel:
        """The first teacher anew, as it teaches: it may have been cast, sharded or freed since."""
        return self.load_finished(self.first.finetuned or self.first.source, self.first.tokenizer)

    def teacher(self, data: TaskData) -> tuple[nn.Module | Teacher, TaskData]:
        """What the trainer takes: models, or their answers to all rows, after which they leave the memory.

        Args:
            data: The student's rows.

        Returns:
            The teacher; and the student's data, its training rows all that the teacher answers, with a key for each
            teacher that reads them in another tokenization.

        Raises:
            InputError: A cache that is there was made by another teacher, from other rows, or is damaged.
        """
        if self.answers_before_training:
            return self._cached_teacher(data)
        return self.live(), dataclasses.replace(data, train=data.taught)

    def live(self) -> nn.Module | Teacher:
        """All teachers in memory, to answer at every step."""
        for teacher in self.teachers:
            if teacher.model is None:
                self.load_published(teacher)
        return self._together([in_memory(teacher) for teacher in self.teachers])

    def _cached_teacher(self, data: TaskData) -> tuple[nn.Module | Teacher, TaskData]:
        caches, train = [], data.taught
        for number, teacher in enumerate(self.teachers):
            stored = self._cached(teacher, self._folder(number))
            if teacher.data is not data:
                train = stored.with_keys(train, teacher.data.taught)
            caches.append(stored)
        return self._together(caches), dataclasses.replace(data, train=train)

    def _cached(self, teacher: TeachingModel, folder: Path) -> CachedTeacher:
        if teacher.model is None:
            self.load_published(teacher)
        overwrites_run = self.args.overwrite_output_dir and not self.args.resume_from_checkpoint
        try:
            return self._stored(teacher, folder, self.cache.overwrite_teacher_cache)
        except InputError:
            if not (self._is_in_run and overwrites_run and folder.is_dir()):
                raise
            logger.warning(f"The teacher's cache in {str(folder)!r} is of the overwritten run: making it anew.")
            _remove(folder)
            return self._stored(teacher, folder, overwrite=False)
        finally:
            (teacher.model,) = release_memory(teacher.model)

    def _stored(self, teacher: TeachingModel, folder: Path, overwrite: bool) -> CachedTeacher:
        data = teacher.data
        return cache_teacher_outputs(
            in_memory(teacher),
            data.taught,
            folder,
            data.collator,
            teacher.tokenizer,
            batch_size=self.cache.teacher_batch_size,
            storage_dtype=self.cache.storage_dtype,
            needs=self._needs,
            settings={"task": self.task.name, "max_seq_length": data.max_seq_length},
            overwrite=overwrite,
            device=self.args.device,
        )

    @property
    def _is_in_run(self) -> bool:
        return self.cache.teacher_cache_dir in (None, "true")

    @property
    def _root(self) -> Path:
        own = Path(str(self.args.output_dir)) / TEACHER_CACHE_FOLDER
        return own if self._is_in_run else Path(str(self.cache.teacher_cache_dir)).expanduser()

    def _folder(self, number: int) -> Path:
        return self._root / f"teacher-{number}" if len(self.teachers) > 1 else self._root

    def _together(self, members: Sequence[nn.Module | Teacher]) -> nn.Module | Teacher:
        return members[0] if len(members) == 1 else TeacherEnsemble(members, self.models.teacher_weights)


def _remove(folder: Path) -> None:
    state = PartialState()
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.rmtree(folder)
    state.wait_for_everyone()


def in_memory(teacher: TeachingModel) -> PreTrainedModel:
    """The model of a teacher that must be in memory."""
    if teacher.model is None:
        raise RuntimeError(f"The teacher {teacher.source.name!r} is not in memory.")
    return teacher.model
