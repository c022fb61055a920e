"""What runs have in common that train many students from one teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.arguments import DistillationTrainingArguments, TeacherCacheArguments
from hf_distill.errors import InputError
from hf_distill.teachers.teacher import Teacher
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.training import train


def require_packages(what: str, packages: Sequence[str]) -> None:
    """Check that packages of the extra ``sweep`` are there, before anything is loaded.

    Args:
        what: Needs them.
        packages: Their names.

    Raises:
        InputError: One of them is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what} needs {' and '.join(missing)}, not installed here; run `pip install 'hf_distill[sweep]'`."
        )


def check_many_students(what: str, args: DistillationTrainingArguments, cache: TeacherCacheArguments) -> None:
    """Refuse what makes sense for one student only.

    Args:
        what: Trains them: ``"a sweep"``.
        args: How.
        cache: Where the teacher's answers are kept.

    Raises:
        InputError: Names the argument.
    """
    if cache.teacher_cache_dir == "false":
        raise InputError(
            f"teacher_cache_dir is false, and in {what} the teacher answers once for all students; leave it out, or "
            "name a folder."
        )
    if args.push_to_hub:
        raise InputError(
            f"push_to_hub is set, and {what} ends without a report and a card to push; distil once more with the best "
            "values, and push that."
        )
    if isinstance(args.resume_from_checkpoint, str):
        raise InputError(
            f"resume_from_checkpoint is {args.resume_from_checkpoint!r}, and {what} goes on from its own trials and "
            "not from a checkpoint; write --resume_from_checkpoint alone."
        )


def changes_for_trial(args: DistillationTrainingArguments, folder: Path, seed: int) -> dict[str, Any]:
    """What differs from ``args`` for one student: where it is trained, its seed, and no more evaluation than needed.

    Args:
        args: Of all students.
        folder: For this one's checkpoints.
        seed: Its own.
    """
    changes: dict[str, Any] = {"seed": seed, "output_dir": str(folder), "resume_from_checkpoint": None}
    if not args.load_best_model_at_end:
        changes |= {"save_strategy": "no", "eval_strategy": "no"}
    return changes


@dataclass(frozen=True)
class Trained:
    """What came of one student.

    Attributes:
        score: By the metric that was asked for.
        steps: The optimiser steps of its whole training.
    """

    score: float
    steps: int


def train_and_score(
    student: PreTrainedModel,
    args: DistillationTrainingArguments,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase,
    teacher: nn.Module | Teacher | None,
    rows: Dataset,
    metric: str,
) -> Trained:
    """Train a student and score it.

    Args:
        student: Trained in place.
        args: How.
        data: What it learns from.
        tokenizer: Its own.
        teacher: None where there is none.
        rows: To score it on.
        metric: By which.

    Raises:
        FloatingPointError: The training diverged.
    """
    trainer = train(student, args, data, tokenizer, teacher)
    score = float(trainer.evaluate(rows)[f"eval_{metric}"])
    trainer.accelerator.free_memory()
    return Trained(score, trainer.state.max_steps)
