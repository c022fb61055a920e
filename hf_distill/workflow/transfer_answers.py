"""What a teacher has said to rows: how sure it was, and where it says something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers.utils.logging import tqdm

from hf_distill.losses.confidence import confidence
from hf_distill.losses.mean_teacher_logits import teacher_logits
from hf_distill.problem_type import ProblemType
from hf_distill.tasks import predicted_labels
from hf_distill.tasks.task import MULTI_LABEL, REGRESSION
from hf_distill.teachers.teacher import Collator, Teacher

_ROWS_AT_ONCE = 512


def stored_logits(teacher: Teacher, rows: Dataset, collator: Collator, problem_type: str) -> np.ndarray:
    """``(rows, outputs)`` float32, a teacher's stored answers; of several teachers their mean, at temperature 1.

    Args:
        teacher: One that has answered already, or several such.
        rows: As the student is trained on them.
        collator: Makes batches of them.
        problem_type: As in a Transformers configuration.
    """
    collate = teacher.collator(collator)
    answers = []
    for start in tqdm(range(0, len(rows), _ROWS_AT_ONCE), desc="Reading the teacher's answers", leave=False):
        batch: Any = collate(rows.__getitems__(list(range(start, min(start + _ROWS_AT_ONCE, len(rows))))))
        logits = teacher_logits(teacher(batch), 1.0, ProblemType(problem_type))
        answers.append(logits.float().cpu().numpy())
    return np.concatenate(answers)


def row_confidence(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """``(rows,)``: the largest probability; with several labels a row the mean over them of the larger of p and 1 - p.

    Args:
        logits: ``(rows, labels)``.
        problem_type: Not regression.
    """
    sure = confidence(torch.from_numpy(logits), ProblemType(problem_type))
    return (sure.mean(dim=-1) if problem_type == MULTI_LABEL else sure).numpy()


def differing(logits: np.ndarray, others: np.ndarray, problem_type: str) -> np.ndarray:
    """``(rows,)``: 1.0 where two answers mean other labels, be it one of several; for scores how far they are apart.

    Args:
        logits: ``(rows, outputs)``.
        others: Same shape.
        problem_type: As in a Transformers configuration.
    """
    one, other = predicted_labels(logits, problem_type), predicted_labels(others, problem_type)
    if problem_type == REGRESSION:
        return np.abs(one - other)
    different = one != other
    return (different.any(axis=-1) if different.ndim > 1 else different).astype(np.float64)
