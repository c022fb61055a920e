"""What a run tells of itself when its training begins."""

from __future__ import annotations

from transformers.utils import logging

from hf_distill.checking import Background, check
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.trainer import DistillationTrainer
from hf_distill.workflow.teaching import Teaching

logger = logging.get_logger(__name__)

_SHOWN = 4


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


def background_of(teaching: Teaching) -> Background:
    """What a run knows of its teachers, while the first is in memory.

    Args:
        teaching: The teachers.
    """
    notes = []
    is_untrained = False
    if len(teaching.teachers) > 1:
        notes.append(f"there are {len(teaching.teachers)} teachers, the first of which is shown")
    if teaching.models.finetune_teacher and teaching.first.finetuned is None:
        published = "answers here as it was published"
        is_untrained = bool(teaching.first.untrained)
        if is_untrained:
            what = "an untrained head" if len(teaching.first.untrained) <= _SHOWN else "untrained weights"
            published = f"has {what} ({_some(teaching.first.untrained)}) and answers noise here"
        notes.append(
            f"the teacher is fine-tuned when the run begins; until then it {published}, so that what depends on its "
            "answers will have other values and gradients"
        )
    return Background(
        ModelFacts.of(teaching.first_model),
        teaching.described_reading,
        tuple(notes),
        has_untrained_head=is_untrained,
    )


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
