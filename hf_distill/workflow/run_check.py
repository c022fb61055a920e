"""What a run tells of itself when its training begins."""

from __future__ import annotations

from transformers.utils import logging

from hf_distill.checking import Background, check
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.teaching import SAMPLE, Teaching

logger = logging.get_logger(__name__)


def log_check(trainer: DistillationTrainer, background: Background) -> None:
    """Check a training and log the report, on the main process alone.

    Args:
        trainer: About to train.
        background: What is known beside it.

    Raises:
        InputError: The objective cannot be computed on these rows.
    """
    if trainer.accelerator.is_main_process:
        logger.info(f"\n{check(trainer, background)}\n")


def background_of(teaching: Teaching, data: TaskData) -> Background:
    """What a run knows of its teachers, while the first is in memory.

    Args:
        teaching: The teachers.
        data: The student's rows.
    """
    notes = []
    is_untrained = False
    if len(teaching.teachers) > 1:
        notes.append(f"there are {len(teaching.teachers)} teachers, the first of which is shown")
    if teaching.models.finetune_teacher and teaching.first.finetuned is None:
        published = "answers here as it was published"
        is_untrained = bool(teaching.first.untrained)
        if is_untrained:
            published = f"has an untrained head ({', '.join(teaching.first.untrained)}) and answers noise here"
        notes.append(
            f"the teacher is fine-tuned when the run begins; until then it {published}, so that what depends on its "
            "answers will have other values and gradients"
        )
    others = [teacher for teacher in teaching.teachers if teacher.data is not data]
    alike = f"the same in all: vocabulary, and the tokens of {min(SAMPLE, len(teaching.task.train))} texts"
    differ = "a teacher has another (vocabulary, case or special tokens) and reads the texts with its own"
    return Background(
        ModelFacts.of(teaching.first_model),
        differ if others else alike,
        tuple(notes),
        has_untrained_head=is_untrained,
    )
