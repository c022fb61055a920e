"""Who teaches in a run: one teacher or several, live or from their caches, each reading the texts in its own way."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env, release_memory
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.errors import InputError
from hf_distill.objectives.stages import needs_of_teacher
from hf_distill.signal_needs import SignalNeeds
from hf_distill.tasks import Task
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.pairing import check_pair, read_alike
from hf_distill.teachers.teacher import Teacher
from hf_distill.workflow.data import ReadingNeeds, TaskData, prepare_data
from hf_distill.workflow.models import Source, load_classifier, load_teacher, load_tokenizer
from hf_distill.workflow.output_folder import TEACHER_CACHE_FOLDER, check_cache_folder
from hf_distill.workflow.teacher_finetuning import finetuned_teacher_folder

logger = logging.get_logger(__name__)

SAMPLE = 256
"""Rows by which tokenizers are compared."""


@dataclass(eq=False)
class TeachingModel:
    """One of the teachers.

    Attributes:
        source: Its checkpoint.
        tokenizer: Its own.
        model: None while it is not in memory.
        untrained: Its weights that no checkpoint held.
        finetuned: Where it was saved after fine-tuning; None if it teaches as it was published.
        data: The task as it reads it: the student's own object where they read texts alike. Set by
            :meth:`Teaching.prepare_rows`.
    """

    source: Source
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel | None = None
    untrained: list[str] = field(default_factory=list)
    finetuned: Source | None = None
    data: TaskData = field(init=False)


class Teaching:
    """The teachers of a run, and how they answer.

    Making one loads the first teacher, whose layers the student may start from, and the tokenizers of all.

    Args:
        models: The arguments that name them.
        cache: Whether they answer before training, and where their answers are kept.
        args: The run.
        task: What they are to teach.

    Raises:
        InputError: A tokenizer or the first teacher cannot be loaded or cannot teach this task.
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
        self.teachers = [TeachingModel(source, load_tokenizer(source, models.trust_remote_code)) for source in sources]
        self.first = self.teachers[0]
        self._load_published(self.first)
        self.answers_before_training = False
        self._needs = SignalNeeds()

    @property
    def first_model(self) -> PreTrainedModel:
        """The first teacher, while it is in memory."""
        return _in_memory(self.first)

    def prepare_rows(
        self, student: PreTrainedModel, student_tokenizer: PreTrainedTokenizerBase, max_seq_length: int
    ) -> TaskData:
        """Check every teacher against the student, and tokenize the task for all of them.

        Args:
            student: As it will be trained.
            student_tokenizer: Its own.
            max_seq_length: Longer texts are cut there.

        Returns:
            The student's rows, with the inputs of the teachers that read texts as it does.

        Raises:
            InputError: One of them cannot teach this student, or its answers cannot be kept where they are to be.
        """
        sample = self.task.train[:SAMPLE]
        texts = (sample["text"], sample.get("text_pair"))
        alike = [teacher for teacher in self.teachers if read_alike(student_tokenizer, teacher.tokenizer, *texts)]
        self.answers_before_training = _answer_before_training(
            self.cache, self.args, len(self.task.train), needs_cache=len(alike) < len(self.teachers)
        )
        if self.answers_before_training and not self._is_in_run:
            check_cache_folder(self._root, Path(str(self.args.output_dir)))
        needs = [self._checked_needs(teacher, student) for teacher in self.teachers]
        needs_of_alike = [need for teacher, need in zip(self.teachers, needs, strict=True) if teacher in alike]
        tokenizers = [*(teacher.tokenizer for teacher in alike), student_tokenizer]
        has_types = (tokenizer for tokenizer in tokenizers if "token_type_ids" in tokenizer.model_input_names)
        reader = next(has_types, tokenizers[0])
        data = prepare_data(self.task, reader, max_seq_length, [ReadingNeeds.of(student), *needs_of_alike])
        student_tokenizer.model_max_length = reader.model_max_length
        for teacher, need in zip(self.teachers, needs, strict=True):
            teacher.data = data
            if teacher not in alike:
                teacher.data = prepare_data(self.task, teacher.tokenizer, max_seq_length, [need])
        return data

    def _checked_needs(self, teacher: TeachingModel, student: PreTrainedModel) -> ReadingNeeds:
        if teacher.model is None:
            self._load_published(teacher)
        model = _in_memory(teacher)
        check_pair(student, model, teacher.tokenizer)
        if teacher is self.first:
            self._needs = needs_of_teacher(self.args.objective(), student, model)
        if teacher is not self.first and self.answers_before_training:
            # Loaded again when its turn comes, so that no two share the memory.
            teacher.model = None
        return ReadingNeeds.of(model)

    def _load_published(self, teacher: TeachingModel) -> None:
        teacher.model, teacher.untrained = load_teacher(
            teacher.source, self.models, self.task, teacher.tokenizer, self.args
        )

    def add_transfer_rows(self, data: TaskData, rows: Dataset) -> TaskData:
        """Let every teacher answer further rows too.

        Args:
            data: The student's rows.
            rows: Texts without a label.

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
        source, trust = self.first.finetuned or self.first.source, self.models.trust_remote_code
        model, _ = load_classifier(source, self.task, self.first.tokenizer, self.args, trust, new_head=False)
        return model.eval().to(self.args.device)

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
        models = [_in_memory(teacher) for teacher in self.teachers]
        return self._together(models), dataclasses.replace(data, train=data.taught)

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
            self._load_published(teacher)
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
            _in_memory(teacher),
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


def _in_memory(teacher: TeachingModel) -> PreTrainedModel:
    if teacher.model is None:
        raise RuntimeError(f"The teacher {teacher.source.name!r} is not in memory.")
    return teacher.model


def _answer_before_training(
    cache: TeacherCacheArguments, args: DistillationTrainingArguments, rows: int, needs_cache: bool
) -> bool:
    objective = args.objective()
    if needs_cache and objective.looks_inside:
        raise InputError(
            "The objective compares more than answers, and teacher and student have different tokenizers (vocabulary, "
            "case or special tokens), so that what belongs to different tokens would be compared; leave only "
            "soft_target_weight and hard_target_weight above 0, or use models with the same tokenizer."
        )
    if needs_cache and cache.teacher_cache_dir == "false":
        raise InputError(
            "teacher_cache_dir is false, and a teacher has another tokenizer than the student (vocabulary, case or "
            "special tokens), so it would misread the student's tokens and can only answer before training; leave "
            "teacher_cache_dir out, or use models with the same tokenizer."
        )
    if cache.teacher_cache_dir is not None:
        return cache.teacher_cache_dir != "false"
    if objective.looks_inside or not objective.needs_teacher:
        return needs_cache
    plugin = args.deepspeed_plugin
    uses_fsdp = bool(args.fsdp) or parse_flag_from_env("ACCELERATE_USE_FSDP")
    is_sharded = uses_fsdp or (plugin is not None and plugin.zero_stage == 3)
    steps_of_an_epoch = rows / (args.train_batch_size * args.gradient_accumulation_steps * args.world_size)
    epochs = args.max_steps / steps_of_an_epoch if args.max_steps > 0 else args.num_train_epochs
    return needs_cache or (epochs > 1 and not is_sharded)
