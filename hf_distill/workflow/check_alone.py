"""The check of a run that is not started."""

from __future__ import annotations

import dataclasses
import tempfile

from transformers import BaseImageProcessor, PreTrainedTokenizerBase

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.checking import Background, CheckReport, check
from hf_distill.tasks.images import holds_images
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.distillation_run import DistillationRun
from hf_distill.workflow.image_distillation_run import ImageDistillationRun
from hf_distill.workflow.run import Run
from hf_distill.workflow.run_check import background_of
from hf_distill.workflow.training import new_trainer


def check_run(
    models: ModelArguments,
    data: DataArguments,
    args: DistillationTrainingArguments,
    cache: TeacherCacheArguments,
) -> CheckReport:
    """Check everything that a run would need, train nothing and write nothing.

    The teacher answers one batch live and as it was published, also where the run would fine-tune it or cache its
    answers first. Rows are augmented by the run alone.

    Args:
        models: Who teaches and who learns.
        data: Which rows.
        args: How.
        cache: Whether the teacher answers before training.

    Raises:
        InputError: Something that was asked for cannot work.
    """
    with tempfile.TemporaryDirectory() as folder:
        nowhere = dataclasses.replace(args, output_dir=folder, report_to="none", resume_from_checkpoint=None)
        kind = ImageDistillationRun if holds_images(data) else DistillationRun
        return check(*_untrained(kind(models, data, args, cache), nowhere))


def _untrained(run: Run, args: DistillationTrainingArguments) -> tuple[DistillationTrainer, Background]:
    teaching, unlabelled = run.teaching, run.data.task.unlabelled
    background = background_of(teaching)
    notes = list(background.notes)
    if teaching.answers_before_training:
        notes.append("the run lets the teacher answer all rows before training; here it answers one batch live")
    if run.data_arguments.augmentation:
        notes.append("augmented rows are made when the run begins, and are not counted here")
    background = dataclasses.replace(background, notes=tuple(notes))
    data = run.data if unlabelled is None else run.data.with_transfer(unlabelled)
    data = dataclasses.replace(data, train=data.taught)
    tokenizer: PreTrainedTokenizerBase | BaseImageProcessor | None = run.tokenizer
    if any(teacher.data is not run.data for teacher in teaching.teachers):
        reason = "a teacher reads with another tokenizer, so that it answers out of a cache alone"
        background, tokenizer = dataclasses.replace(background, reason_for_no_batch=reason), None
    return new_trainer(run.new_student(), args, data, tokenizer, run.teaching.live()), background
