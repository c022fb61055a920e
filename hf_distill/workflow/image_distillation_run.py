"""A whole run on images: check everything, train, compare."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState
from accelerate.utils import release_memory
from transformers import PreTrainedModel, SchedulerType
from transformers.utils import logging

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.arguments.model_arguments import CNN
from hf_distill.checking import Background
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport, compare, environment
from hf_distill.hub import build_model_card
from hf_distill.tasks.images import load_image_task
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.pairing import check_pair
from hf_distill.workflow.distillation_run import TIME_BUDGET
from hf_distill.workflow.image_data import check_channels, load_image_processor, prepare_images
from hf_distill.workflow.image_models import load_image_classifier, load_image_teacher, make_image_student
from hf_distill.workflow.models import Source, check_labels
from hf_distill.workflow.output_folder import (
    BASELINE_FOLDER,
    TEACHER_CACHE_FOLDER,
    check_cache_folder,
    check_output_folder,
    claim_output_folder,
)
from hf_distill.workflow.publication import Publication
from hf_distill.workflow.run_check import log_check
from hf_distill.workflow.teacher_finetuning import finetuned_teacher_folder
from hf_distill.workflow.training import Stopwatch, train, without_teacher

logger = logging.get_logger(__name__)

PIPELINE: Final = "image-classification"


class ImageDistillationRun:
    """From arguments to a student for images that stands beside its teacher in a report.

    Making one loads and checks everything and writes nothing but a data set's own cache. The teacher answers each
    image once, before training, unless ``teacher_cache_dir`` is false.

    Args:
        models: Who teaches and who learns. A teacher that is a configuration alone is trained from nothing.
        data_arguments: Which images.
        args: How.
        cache: Where the teacher's answers are kept.

    Raises:
        InputError: Something that was asked for cannot work.
    """

    def __init__(
        self,
        models: ModelArguments,
        data_arguments: DataArguments,
        args: DistillationTrainingArguments,
        cache: TeacherCacheArguments,
    ) -> None:
        self.stopwatch = Stopwatch()
        check_output_folder(args, models, data_arguments)
        self.models, self.data_arguments, self.args, self.cache = models, data_arguments, args, cache
        self.publication = Publication(args)
        self.folder = Path(str(args.output_dir))
        if len(models.teacher_names) > 1:
            raise InputError(f"There are {len(models.teacher_names)} teachers, and images have one teacher; name one.")
        if models.student_architecture == CNN and args.objective().looks_inside:
            raise InputError(
                "A weight other than those of soft and hard targets is above 0, and what a convolutional network for "
                "images has inside are maps, which compare with no layer of its teacher; set those weights to 0."
            )
        self._cache_folder = _cache_folder(cache, args)
        task = load_image_task(data_arguments)
        self.source = Source.find(models.teacher_names[0], models.teacher_revision)
        self._teaching_source = self.source
        self.processor = load_image_processor(self.source, models.trust_remote_code)
        self.teacher, self._untrained = load_image_teacher(self.source, models, task, args)
        check_channels(self.teacher, f"teacher {self.source.name!r}")
        self.student_source = (
            Source.find(models.student_name_or_path, models.student_revision) if models.student_name_or_path else None
        )
        self.data = prepare_images(task, self.processor)
        check_pair(self._new_student(), self.teacher)

    def distil(self) -> None:
        """Fine-tune the teacher if asked to, let it answer, train the student, and the baseline if asked to."""
        claim_output_folder(self.args, self.models, self.data_arguments)
        self.stopwatch.lap("preparing")
        if self.models.finetune_teacher:
            logger.info(f"Training the teacher on {len(self.data.train):,} images.")
            self._finetune_teacher()
            self.stopwatch.lap("finetuning the teacher")
        student = self._new_student()
        baseline = self._new_student() if self.models.baseline else None
        self.student_layers = getattr(student.config, "distilled_from_layers", None)
        logger.info(
            f"Distilling a student of {student.num_parameters() / 1e6:.2f} M parameters from a teacher of "
            f"{self.teacher.num_parameters() / 1e6:.2f} M on {len(self.data.train):,} images."
        )
        background = Background(ModelFacts.of(self.teacher))
        teacher = self.teacher if self._cache_folder is None else self._cached(self._cache_folder)
        if self._cache_folder is not None:
            self.stopwatch.lap("caching the teacher")
        log = partial(log_check, background=background)
        train(student, self.args, self.data, self.processor, teacher, log).save_state()
        self.stopwatch.lap("distilling the student")
        if baseline is not None:
            logger.info("Training the same student without its teacher, for comparison.")
            train(baseline, self._baseline_args(), self.data, self.processor)
            self.stopwatch.lap("training the baseline")

    def report(self) -> DistillationReport:
        """Compare what was saved on the same rows, and write the report and the model card beside the student."""
        task, args = self.data.task, self.args
        teacher = self._load(self._teaching_source)
        comparison = compare(
            task,
            teacher,
            self._load(Source.find(str(self.folder))),
            self.data.evaluation,
            self.data.collator,
            self.data.compute_metrics,
            baseline=self._load(Source.find(str(self.folder / BASELINE_FOLDER))) if self.models.baseline else None,
            teacher_columns=check_labels(teacher, task, "teacher"),
            batch_size=args.per_device_eval_batch_size,
            time_budget=TIME_BUDGET,
        )
        self.stopwatch.lap("comparing")
        report = DistillationReport(
            task=task.name,
            primary_metric=task.primary_metric,
            teacher_name=self.source.public_name,
            teacher_revision=self.source.commit,
            student_layers=self.student_layers,
            data=task.source,
            objective=args.described_objective(),
            training=self._training(),
            environment=environment(),
            **vars(comparison),
        )
        if PartialState().is_main_process:
            report.save(self.folder)
            card = build_model_card(
                report,
                model_id=self.publication.repo_id or str(args.output_dir),
                example="an-image.png",
                command=["python", *sys.argv],
                pipeline=PIPELINE,
            )
            card.save(self.folder / "README.md")
        return report

    def _new_student(self) -> PreTrainedModel:
        height, width = self.data.train[0]["pixel_values"].shape[-2:]
        return make_image_student(
            self.student_source, self.models, self.data.task, self.args, self.teacher, (height, width)
        )

    def _finetune_teacher(self) -> None:
        folder = finetuned_teacher_folder(
            self.teacher, self._untrained, self.models, self.args, self.data, self.processor
        )
        self._teaching_source = Source.find(folder)
        self.teacher = self._load(self._teaching_source)

    def _cached(self, folder: Path) -> CachedTeacher:
        try:
            return cache_teacher_outputs(
                self.teacher,
                self.data.train,
                folder,
                self.data.collator,
                self.processor,
                batch_size=self.cache.teacher_batch_size,
                storage_dtype=self.cache.storage_dtype,
                settings={"task": self.data.task.name},
                overwrite=self.cache.overwrite_teacher_cache or self._overwrites_own_cache,
                device=self.args.device,
            )
        finally:
            (self.teacher,) = release_memory(self.teacher)

    def _load(self, source: Source) -> PreTrainedModel:
        trust = self.models.trust_remote_code
        model, _ = load_image_classifier(source, self.data.task, self.args, trust, new_head=False)
        return model.eval().to(self.args.device)

    @property
    def _overwrites_own_cache(self) -> bool:
        is_own = self._cache_folder == self.folder / TEACHER_CACHE_FOLDER
        return is_own and self.args.overwrite_output_dir and not self.args.resume_from_checkpoint

    def _baseline_args(self) -> DistillationTrainingArguments:
        args = without_teacher(self.args, self.folder / BASELINE_FOLDER)
        if args.resume_from_checkpoint:
            args.resume_from_checkpoint = True
        return args

    def _training(self) -> dict[str, Any]:
        args, models = self.args, self.models
        return {
            "finetune_teacher": models.finetune_teacher,
            "teacher_epochs": models.teacher_num_train_epochs if models.finetune_teacher else None,
            "teacher_learning_rate": models.teacher_learning_rate if models.finetune_teacher else None,
            "teacher_answers": "before training" if self._cache_folder is not None else "at every step",
            "student_architecture": models.student_name_or_path or models.student_architecture,
            "epochs": args.num_train_epochs,
            "max_steps": args.max_steps if args.max_steps > 0 else None,
            "batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "learning_rate": args.learning_rate,
            "lr_scheduler_type": SchedulerType(args.lr_scheduler_type).value,
            "warmup_steps": args.warmup_steps,
            "weight_decay": args.weight_decay,
            "precision": args.mixed_precision if args.mixed_precision != "no" else "fp32",
            "seed": args.seed,
            "processes": args.world_size,
            "seconds": self.stopwatch.seconds,
        }


def _cache_folder(cache: TeacherCacheArguments, args: DistillationTrainingArguments) -> Path | None:
    """Where the teacher's answers are kept; None where it answers at every step."""
    output_folder, objective = Path(str(args.output_dir)), args.objective()
    if cache.teacher_cache_dir == "false" or objective.looks_inside or not objective.needs_teacher:
        return None
    if cache.teacher_cache_dir in (None, "true"):
        return output_folder / TEACHER_CACHE_FOLDER
    folder = Path(cache.teacher_cache_dir).expanduser()
    check_cache_folder(folder, output_folder)
    return folder
