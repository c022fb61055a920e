"""How far two models say the same."""

import numpy as np


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
    if problem_type == "regression":
        student_scores, teacher_scores = student_logits.ravel(), teacher_logits.ravel()
        if np.ptp(student_scores) == 0 or np.ptp(teacher_scores) == 0:
            return None
        return float(np.corrcoef(student_scores, teacher_scores)[0, 1])
    if problem_type == "multi_label_classification":
        return float(np.mean((student_logits > 0) == (teacher_logits > 0)))
    return float(np.mean(student_logits.argmax(axis=-1) == teacher_logits.argmax(axis=-1)))
