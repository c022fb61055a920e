"""How far two models say the same."""

import numpy as np

from hf_distill.tasks import predicted_labels
from hf_distill.tasks.task import REGRESSION


def agreement(student_logits: np.ndarray, teacher_logits: np.ndarray, problem_type: str) -> float | None:
    """How often the student decides like its teacher, right or wrong.

    Args:
        student_logits: ``(rows, num_labels)``.
        teacher_logits: Same shape, classes in the student's order.
        problem_type: As in a Transformers configuration.

    Returns:
        The share of rows with the same predicted class; with several labels a row, the share of labels decided alike;
        for regression Pearson's r between the scores, ``None`` where one of them is constant.
    """
    student, teacher = (predicted_labels(logits, problem_type) for logits in (student_logits, teacher_logits))
    if problem_type != REGRESSION:
        return float(np.mean(student == teacher))
    if np.ptp(student) == 0 or np.ptp(teacher) == 0:
        return None
    return float(np.corrcoef(student, teacher)[0, 1])
