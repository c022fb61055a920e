"""The check of a run that is not started."""

from __future__ import annotations

import dataclasses
import tempfile

from torch import nn
from transformers import PreTrainedTokenizerBase

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.checking import Background, CheckReport, check
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.tasks.images.loading import IMAGE_TASK_NAMES
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.teacher import Teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.distillation_run import DistillationRun
from hf_distill.workflow.image_distillation_run import ImageDistillationRun
from hf_distill.workflow.models import load_teacher
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
        if str(data.task_name).lower() in IMAGE_TASK_NAMES:
            return check(*_of_images(ImageDistillationRun(models, data, args, cache), nowhere))
        return check(*_of_texts(DistillationRun(models, data, args, cache), nowhere))


def _of_texts(run: DistillationRun, args: DistillationTrainingArguments) -> tuple[DistillationTrainer, Background]:
    teaching, unlabelled = run.teaching, run.data.task.unlabelled
    background = background_of(teaching, run.data)
    notes = list(background.notes)
    if teaching.answers_before_training:
        notes.append("the run lets the teacher answer all rows before training; here it answers one batch live")
    if run.data_arguments.augmentation:
        notes.append("augmented rows are made when the run begins, and are not counted here")
    background = dataclasses.replace(background, notes=tuple(notes))
    data = run.data if unlabelled is None else run.data.with_transfer(unlabelled)
    data = dataclasses.replace(data, train=data.taught)
    tokenizer: PreTrainedTokenizerBase | None = run.tokenizer
    if any(teacher.data is not run.data for teacher in teaching.teachers):
        reason = "a teacher reads with another tokenizer, so that it answers out of a cache alone"
        background, tokenizer = dataclasses.replace(background, reason_for_no_batch=reason), None
    student = run.start.student(teaching.first_model)
    return new_trainer(student, args, data, tokenizer, _live(run)), background


def _live(run: DistillationRun) -> nn.Module | Teacher:
    """All teachers in memory."""
    found = [
        load_teacher(teacher.source, run.models, run.data.task, teacher.tokenizer, run.args)[0]
        if teacher.model is None
        else teacher.model
        for teacher in run.teaching.teachers
    ]
    return found[0] if len(found) == 1 else TeacherEnsemble(found, run.models.teacher_weights)


def _of_images(
    run: ImageDistillationRun, args: DistillationTrainingArguments
) -> tuple[DistillationTrainer, Background]:
    notes: tuple[str, ...] = ()
    if run.models.finetune_teacher:
        notes = ("the teacher is fine-tuned when the run begins; until then its answers may be noise",)
    background = Background(ModelFacts.of(run.teacher), notes=notes, has_untrained_head=run.models.finetune_teacher)
    return new_trainer(run._new_student(), args, run.data, run.processor, run.teacher), background
