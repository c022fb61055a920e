"""How a model's raw scores become predictions and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import EvalPrediction

from hf_distill.metrics import load_metric
from hf_distill.tasks.task import MULTI_LABEL, REGRESSION, Task


def predicted_labels(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Turn raw scores into predictions.

    Args:
        logits: ``(rows, labels)``; for regression ``(rows, 1)`` or ``(rows,)``.
        problem_type: As in `hf_distill.tasks.task.Task`.

    Returns:
        Class indices ``(rows,)``, scores ``(rows,)``, or for several labels a row 0 and 1 ``(rows, labels)``, 1 where
        the probability is above one half.
    """
    if problem_type == REGRESSION:
        return logits.reshape(len(logits))
    if problem_type == MULTI_LABEL:
        return (logits > 0).astype(np.int64)
    return logits.argmax(axis=-1)


def compute_metrics(task: Task) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the function by which `Trainer` scores a task.

    F1 is that of class 1 where there are two classes, as in GLUE, the plain mean over the classes where there are
    more, and counted over all labels together (micro) where a row can have several.

    Args:
        task: Its metrics, labels and problem type are used.

    Returns:
        From logits and labels to the value of each metric by its name.
    """
    metrics = {name: load_metric(name) for name in task.metrics}
    options: dict[str, dict[str, Any]] = {"f1": {"average": _f1_average(task)}}
    scores = task.problem_type == REGRESSION

    def score(prediction: EvalPrediction) -> dict[str, float]:
        logits = prediction.predictions
        logits = np.asarray(logits[0] if isinstance(logits, (tuple, list)) else logits)
        predictions = predicted_labels(logits, task.problem_type)
        references = np.asarray(prediction.label_ids)
        references = references.reshape(len(references)) if scores else references.astype(np.int64)
        values: dict[str, float] = {}
        for name, metric in metrics.items():
            values |= metric.compute(predictions=predictions, references=references, **options.get(name, {}))
        return values

    return score


def _f1_average(task: Task) -> str:
    if task.problem_type == MULTI_LABEL:
        return "micro"
    return "binary" if task.num_labels == 2 else "macro"
