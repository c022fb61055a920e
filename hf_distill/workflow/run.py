"""What all runs have in common: check everything, train, compare, publish."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import PartialState
from transformers import (
    BaseImageProcessor,
    IntervalStrategy,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SchedulerType,
)
from transformers.utils import logging

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.checkpoints import checkpoint_to_resume_from
from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport, compare, environment
from hf_distill.hub import build_model_card
from hf_distill.problem_type import ProblemType
from hf_distill.tasks import Task
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.models import Source, check_labels
from hf_distill.workflow.output_folder import BASELINE_FOLDER, check_output_folder, claim_output_folder
from hf_distill.workflow.publication import Publication
from hf_distill.workflow.run_check import background_of, log_check
from hf_distill.workflow.student_start import StudentStart
from hf_distill.workflow.teaching import Teaching
from hf_distill.workflow.training import Stopwatch, train, without_teacher
from hf_distill.workflow.transfer import TransferSet

logger = logging.get_logger(__name__)

TIME_BUDGET = 10.0
"""Seconds that measuring the speed of all models may take, about."""


class Run(ABC):
    """From arguments to a student that stands beside its teacher in a report.

    Making one loads and checks everything and writes nothing but a data set's own cache, so that what cannot work is
    refused before any training and before anything is overwritten.

    Args:
        models: Who teaches and who learns.
        data_arguments: Which rows.
        args: How. ``push_to_hub`` is acted upon once, at the end, by ``publication``, and not by the trainer.
        cache: Whether the teacher answers before training, and where its answers are kept.

    Attributes:
        pipeline: What the student is for, as Transformers names it.
        teaching: The teachers.
        start: What makes the student.
        tokenizer: What the student reads with: a tokenizer or an image processor.
        data: The rows as it reads them.

    Raises:
        InputError: Something that was asked for cannot work.
    """

    pipeline: ClassVar[str]
    tokenizer: PreTrainedTokenizerBase | BaseImageProcessor

    def __init__(
        self,
        models: ModelArguments,
        data_arguments: DataArguments,
        args: DistillationTrainingArguments,
        cache: TeacherCacheArguments,
    ) -> None:
        self.stopwatch = Stopwatch()
        check_output_folder(args, models, data_arguments)
        self.models, self.data_arguments, self.args = models, data_arguments, args
        self.publication = Publication(args)
        self.folder = Path(str(args.output_dir))
        if isinstance(args.resume_from_checkpoint, str):
            checkpoint_to_resume_from(args.resume_from_checkpoint, self.folder, args.world_size)
        task = self._load_task()
        _check_best_metric(args, task)
        args.objective().check_problem(ProblemType(task.problem_type))
        self.teaching, self.start, self.tokenizer = self._find_models(task, cache)
        self.data: TaskData = self._prepare_rows(self.new_student())
        self.transfer = TransferSet(data_arguments, args, task, self.teaching)
        _hint_at_idle_cores(args)

    @abstractmethod
    def _load_task(self) -> Task:
        """The rows, raw."""

    @abstractmethod
    def _find_models(
        self, task: Task, cache: TeacherCacheArguments
    ) -> tuple[Teaching, StudentStart, PreTrainedTokenizerBase | BaseImageProcessor]:
        """The teachers, the first in memory; what makes the student; and what it reads with."""

    @abstractmethod
    def _prepare_rows(self, student: PreTrainedModel) -> TaskData:
        """Check the teachers against the student, and the rows as they read them."""

    @abstractmethod
    def _example(self) -> Any:
        """For the model card: what its pipeline takes."""

    def new_student(self) -> PreTrainedModel:
        """The student before training, while the first teacher is in memory."""
        return self.start.student(self.teaching.first_model)

    def get_teacher_ready(self) -> None:
        """Fine-tune the teacher if asked to, make the students, and let the teacher answer the rows if it is to."""
        self._make_models()
        self._let_teacher_answer()

    def _make_models(self) -> None:
        claim_output_folder(self.args, self.models, self.data_arguments)
        self._gather_transfer_set()
        self.stopwatch.lap("preparing")
        starts_before = self.models.student_init == "pretrained"
        if starts_before:
            self._make_students()
        if self.models.finetune_teacher:
            logger.info(f"Fine-tuning the teacher on {self._rows()}.")
            self.teaching.finetune_first()
            self.stopwatch.lap("finetuning the teacher")
        if not starts_before:
            self._make_students()
        self.student_layers = getattr(self.student.config, "distilled_from_layers", None)
        logger.info(
            f"Distilling a student of {self.student.num_parameters() / 1e6:.3g} M parameters from a teacher of "
            f"{self.teaching.first_model.num_parameters() / 1e6:.3g} M on {self._rows()}."
        )

    def _let_teacher_answer(self) -> None:
        self.teacher, answered = self.teaching.teacher(self.data)
        self.training_data = self.transfer.choose(self.teacher, answered)
        if self.teaching.answers_before_training:
            self.stopwatch.lap("caching the teacher")

    def _make_students(self) -> None:
        """Both before the student's training, after which the teacher may be cast or sharded."""
        self.student = self.new_student()
        self.baseline = self.new_student() if self.models.baseline else None

    def _gather_transfer_set(self) -> None:
        rows = self.transfer.gather(self.data.max_seq_length)
        if rows is not None:
            self.data = self.teaching.add_transfer_rows(self.data, rows)

    def distil(self) -> None:
        """Get the teacher ready, train the student, and train the baseline if asked to."""
        self._make_models()
        # What a check tells of the teacher must be known before its answers are stored and it leaves the memory.
        before = partial(log_check, background=background_of(self.teaching))
        self._let_teacher_answer()
        trainer = train(self.student, self.args, self.training_data, self.tokenizer, self.teacher, before)
        trainer.save_state()
        self.stopwatch.lap("distilling the student")
        if self.baseline is not None:
            logger.info(f"Fine-tuning the same student without its teacher on {self._rows()}, for comparison.")
            train(self.baseline, self._baseline_args(), self.data, self.tokenizer)
            self.stopwatch.lap("training the baseline")

    def report(self) -> DistillationReport:
        """Compare what was saved on the same rows, and write the report and the model card beside the student."""
        task, args = self.data.task, self.args
        logger.info("Comparing teacher and student on the same rows.")
        # Loaded anew: the one that taught may be cast or sharded.
        first = self.teaching.first
        teacher = self.teaching.load_first()
        comparison = compare(
            task,
            teacher,
            self._load(self.folder),
            self.data.evaluation,
            self.data.collator,
            self.data.compute_metrics,
            baseline=self._load(self.folder / BASELINE_FOLDER) if self.models.baseline else None,
            teacher_columns=check_labels(teacher, task, "teacher"),
            teacher_rows=None if first.data is self.data else (first.data.evaluation, first.data.collator),
            batch_size=args.per_device_eval_batch_size,
            time_budget=TIME_BUDGET,
        )
        self.stopwatch.lap("comparing")
        report = DistillationReport(
            task=task.name,
            primary_metric=task.primary_metric,
            teacher_name=first.source.public_name,
            teacher_revision=first.source.commit,
            student_layers=self.student_layers,
            data={**task.source, **({"transfer": self.transfer.report} if self.transfer.report else {})},
            objective=self._objective(),
            training=self._training(),
            environment=environment(),
            **vars(comparison),
        )
        if PartialState().is_main_process:
            report.save(self.folder)
            card = build_model_card(
                report,
                model_id=self.publication.repo_id or str(args.output_dir),
                example=self._example(),
                command=["python", *sys.argv],
                pipeline=self.pipeline,
            )
            card.save(self.folder / "README.md")
        return report

    def _rows(self) -> str:
        return f"{len(self.data.train):,} rows"

    def _baseline_args(self) -> DistillationTrainingArguments:
        args = without_teacher(self.args, self.folder / BASELINE_FOLDER)
        if args.resume_from_checkpoint:
            args.resume_from_checkpoint = True
        return args

    def _load(self, folder: Path) -> PreTrainedModel:
        return self.teaching.load_finished(Source.find(str(folder)), self.tokenizer)

    def _objective(self) -> dict[str, Any]:
        objective = self.args.described_objective()
        names_of_teachers = [teacher.source.public_name for teacher in self.teaching.teachers]
        if len(names_of_teachers) == 1:
            return objective
        weights = self.models.teacher_weights or [1.0] * len(names_of_teachers)
        return {**objective, "teachers": dict(zip(names_of_teachers, weights, strict=True))}

    def _training(self) -> dict[str, Any]:
        args = self.args
        return {
            "finetune_teacher": self.models.finetune_teacher,
            "teacher_epochs": self.models.teacher_num_train_epochs if self.models.finetune_teacher else None,
            "teacher_learning_rate": self.models.teacher_learning_rate if self.models.finetune_teacher else None,
            "teacher_answers": "before training" if self.teaching.answers_before_training else "at every step",
            "student_start": self.start.described(),
            "layer_selection": self._layer_selection(),
            "epochs": args.num_train_epochs,
            "max_steps": args.max_steps if args.max_steps > 0 else None,
            "batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "learning_rate": args.learning_rate,
            "lr_scheduler_type": SchedulerType(args.lr_scheduler_type).value,
            "warmup_steps": args.warmup_steps,
            "weight_decay": args.weight_decay,
            "max_seq_length": self.data_arguments.max_seq_length if self.data.max_seq_length else None,
            "precision": args.mixed_precision if args.mixed_precision != "no" else "fp32",
            "seed": args.seed,
            "processes": args.world_size,
            "seconds": self.stopwatch.seconds,
        }

    def _layer_selection(self) -> str | None:
        selects = self.models.layers is None and self.start.source is None
        return self.models.layer_selection if selects else None


def _check_best_metric(args: DistillationTrainingArguments, task: Task) -> None:
    """Trainer would notice at the first evaluation, when an epoch is over."""
    if args.metric_for_best_model is None or args.eval_strategy == IntervalStrategy.NO:
        return
    splits = [f"{split}_" for split in task.evaluation] if len(task.evaluation) > 1 else [""]
    known = [f"{split}{metric}" for split in splits for metric in ("loss", *task.metrics)]
    if args.metric_for_best_model.removeprefix("eval_") not in known:
        raise InputError(
            f"metric_for_best_model is {args.metric_for_best_model!r}, and the task {task.name!r} is scored by "
            f"{', '.join(known)}; name one of these."
        )


def _hint_at_idle_cores(args: DistillationTrainingArguments) -> None:
    cores = os.cpu_count() or 1
    if args.device.type == "cpu" and args.world_size == 1 and torch.get_num_threads() == 1 < cores:
        logger.info(
            f"PyTorch was given 1 of {cores} cores, as `accelerate launch` does on a CPU unless it is told otherwise: "
            f"--num_cpu_threads_per_process {cores}."
        )
