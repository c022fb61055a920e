"""A whole run: check everything, train, compare, publish."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel, SchedulerType
from transformers.utils import logging

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments
from hf_distill.evaluation import DistillationReport, compare, environment, teacher_identity
from hf_distill.hub import build_model_card, push_student
from hf_distill.model_names import resolve_model_name
from hf_distill.tasks import load_task
from hf_distill.teachers.pairing import check_pair, check_tokenizers
from hf_distill.workflow.data import TaskData, prepare_data, shown_example
from hf_distill.workflow.models import check_labels, load_classifier, load_teacher, load_tokenizer, make_student
from hf_distill.workflow.output_folder import BASELINE_FOLDER, check_output_folder, claim_output_folder
from hf_distill.workflow.teacher_finetuning import finetuned_teacher_folder
from hf_distill.workflow.training import Stopwatch, train, without_teacher

logger = logging.get_logger(__name__)

TIME_BUDGET = 10.0
"""Seconds that measuring the speed of all models may take, about."""


class DistillationRun:
    """From arguments to a student that stands beside its teacher in a report.

    Making one loads and checks everything and writes nothing, so that what cannot work is refused before any training
    and before anything is overwritten.

    Args:
        models: Who teaches and who learns.
        data_arguments: Which rows.
        args: How. ``push_to_hub`` is acted upon once, by :meth:`publish`, and not by the trainer.

    Raises:
        InputError: Something that was asked for cannot work.
    """

    def __init__(
        self, models: ModelArguments, data_arguments: DataArguments, args: DistillationTrainingArguments
    ) -> None:
        check_output_folder(args)
        self.models, self.data_arguments, self.args = models, data_arguments, args
        self._pushes, args.push_to_hub = args.push_to_hub, False
        self.folder = Path(str(args.output_dir))
        task = load_task(data_arguments)
        self.teacher_tokenizer = load_tokenizer(
            models.teacher_name_or_path, models.teacher_revision, models.trust_remote_code
        )
        self.tokenizer = self.teacher_tokenizer
        if models.student_name_or_path is not None:
            self.tokenizer = load_tokenizer(
                models.student_name_or_path, models.student_revision, models.trust_remote_code
            )
            check_tokenizers(self.tokenizer, self.teacher_tokenizer)
        self.teacher, self._untrained = load_teacher(models, task, args)
        self.teacher_name, self.teacher_revision = _identity(models.teacher_name_or_path, self.teacher)
        student = make_student(models, task, args, self.teacher)
        check_pair(student, self.teacher, args.hidden_state_weight > 0, self.tokenizer)
        pair = [self.teacher, student]
        self.data: TaskData = prepare_data(task, self.teacher_tokenizer, data_arguments.max_seq_length, pair)
        self.stopwatch = Stopwatch()

    def distil(self) -> None:
        """Fine-tune the teacher if asked to, train the student, and train the baseline if asked to."""
        claim_output_folder(self.args, self._settings())
        self.stopwatch.lap("preparing")
        if self.models.finetune_teacher:
            logger.info(f"Fine-tuning the teacher on {self._rows()}.")
            folder = finetuned_teacher_folder(
                self.teacher, self._untrained, self.models, self.args, self.data, self.teacher_tokenizer
            )
            self.teacher = self._load(folder)
            self.stopwatch.lap("finetuning the teacher")
        else:
            folder = resolve_model_name(self.models.teacher_name_or_path)
        self._teacher_folder = folder
        baseline = make_student(self.models, self.data.task, self.args, self.teacher) if self.models.baseline else None
        student = make_student(self.models, self.data.task, self.args, self.teacher)
        self.student_layers = getattr(student.config, "distilled_from_layers", None)
        logger.info(
            f"Distilling a student of {student.num_parameters() / 1e6:.1f} M parameters from a teacher of "
            f"{self.teacher.num_parameters() / 1e6:.1f} M on {self._rows()}."
        )
        trainer = train(student, self.args, self.data, self.tokenizer, self.teacher)
        trainer.save_state()
        self.stopwatch.lap("distilling the student")
        if baseline is not None:
            logger.info(f"Fine-tuning the same student without its teacher on {self._rows()}, for comparison.")
            train(baseline, self._baseline_args(), self.data, self.tokenizer)
            self.stopwatch.lap("training the baseline")

    def report(self) -> DistillationReport:
        """Compare what was saved on the same rows, and write the report and the model card beside the student."""
        task, args = self.data.task, self.args
        logger.info("Comparing teacher and student on the same rows.")
        # Loaded anew: the one that taught may be cast or sharded.
        teacher = self._load(self._teacher_folder)
        comparison = compare(
            task,
            teacher,
            self._load(str(self.folder)),
            self.data.evaluation,
            self.data.collator,
            self.data.compute_metrics,
            baseline=self._load(str(self.folder / BASELINE_FOLDER)) if self.models.baseline else None,
            teacher_columns=check_labels(teacher, task, "teacher"),
            batch_size=args.per_device_eval_batch_size,
            time_budget=TIME_BUDGET,
        )
        self.stopwatch.lap("comparing")
        report = DistillationReport(
            task=task.name,
            primary_metric=task.primary_metric,
            teacher_name=self.teacher_name,
            teacher_revision=self.teacher_revision,
            student_layers=self.student_layers,
            data=task.source,
            objective=self._objective(),
            training=self._training(),
            environment=environment(),
            **vars(comparison),
        )
        if PartialState().is_main_process:
            report.save(self.folder)
            card = build_model_card(
                report,
                model_id=self.hub_model_id if self._pushes else str(args.output_dir),
                example=shown_example(task),
                command=shlex.join(["python", *sys.argv]),
            )
            card.save(self.folder / "README.md")
        return report

    def publish(self) -> str | None:
        """Push student, tokenizer, card and report to the Hub, if ``push_to_hub`` was asked for.

        Returns:
            The address of the repository.

        Raises:
            PushError: It did not arrive; the student is still on disk.
        """
        if not self._pushes or not PartialState().is_main_process:
            return None
        return push_student(
            self.folder,
            self.hub_model_id,
            token=self.args.hub_token,
            private=self.args.hub_private_repo,
            revision=self.args.hub_revision,
        )

    @property
    def hub_model_id(self) -> str:
        """Where the student goes on the Hub."""
        return self.args.hub_model_id or self.folder.resolve().name

    def _rows(self) -> str:
        return f"{len(self.data.train):,} rows"

    def _baseline_args(self) -> DistillationTrainingArguments:
        args = without_teacher(self.args, self.folder / BASELINE_FOLDER)
        if args.resume_from_checkpoint:
            args.resume_from_checkpoint = True
        return args

    def _load(self, folder: str) -> PreTrainedModel:
        model, _ = load_classifier(
            folder, None, self.data.task, self.args, self.models.trust_remote_code, new_head=False
        )
        return model.eval().to(self.args.device)

    def _objective(self) -> dict[str, Any]:
        names = ("temperature", "soft_target_weight", "hard_target_weight", "hidden_state_weight")
        return {name: getattr(self.args, name) for name in names}

    def _training(self) -> dict[str, Any]:
        args = self.args
        return {
            "finetune_teacher": self.models.finetune_teacher,
            "teacher_epochs": self.models.teacher_num_train_epochs if self.models.finetune_teacher else None,
            "teacher_learning_rate": self.models.teacher_learning_rate if self.models.finetune_teacher else None,
            "student_start": self.models.student_name_or_path or "the teacher's layers",
            "layer_selection": self._layer_selection(),
            "epochs": args.num_train_epochs,
            "max_steps": args.max_steps if args.max_steps > 0 else None,
            "batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "learning_rate": args.learning_rate,
            "lr_scheduler_type": SchedulerType(args.lr_scheduler_type).value,
            "warmup_steps": args.warmup_steps,
            "weight_decay": args.weight_decay,
            "max_seq_length": self.data_arguments.max_seq_length,
            "precision": args.mixed_precision if args.mixed_precision != "no" else "fp32",
            "seed": args.seed,
            "processes": args.world_size,
            "seconds": self.stopwatch.seconds,
        }

    def _layer_selection(self) -> str | None:
        selects = self.models.layers is None and self.models.student_name_or_path is None
        return self.models.layer_selection if selects else None

    def _settings(self) -> dict[str, Any]:
        return {
            "models": vars(self.models),
            "data": vars(self.data_arguments),
            "training": self.args.to_sanitized_dict(),
        }


def _identity(name: str, teacher: PreTrainedModel) -> tuple[str, str | None]:
    return (name, None) if name.startswith("package:") else teacher_identity(name, teacher)
