"""What kind of answer a model gives, which decides the losses that fit it."""

from enum import Enum
from typing import Any

from torch import Tensor

IGNORE_INDEX = -100
"""The label of a position that has none (PyTorch's and transformers' convention)."""

_WHOLE_EXAMPLE_LOSSES = {
    "ForSequenceClassification",
    "ForImageClassification",
    "ForVideoClassification",
    "ForAudioClassification",
}


class ProblemType(str, Enum):
    """The names that ``config.problem_type`` uses."""

    REGRESSION = "regression"
    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"


def classifies_whole_examples(model: Any) -> bool:
    """Whether the model gives one answer for each example, so that ``config.problem_type`` speaks of it."""
    return getattr(model, "loss_type", None) in _WHOLE_EXAMPLE_LOSSES


def infer_problem_type(model: Any, labels: Tensor | None) -> ProblemType:
    """The problem that a batch poses, by the rule of transformers' own heads.

    The configuration decides where it says so; else one output is regression, floating-point labels are several
    labels at once, and all the rest, token by token or not, are exclusive classes. A model that transformers does
    not know, with or without a configuration, is judged by the configured problem type and else by the labels alone.

    Args:
        model: The student, unwrapped.
        labels: The batch's labels, if it has any.
    """
    is_known, is_listed = getattr(model, "loss_type", None) is not None, classifies_whole_examples(model)
    if is_known and not is_listed:
        return ProblemType.SINGLE_LABEL
    configured = getattr(getattr(model, "config", None), "problem_type", None)
    if configured is not None:
        return ProblemType(configured)
    if is_listed and model.config.num_labels == 1:
        return ProblemType.REGRESSION
    if labels is None or not labels.is_floating_point():
        return ProblemType.SINGLE_LABEL
    return ProblemType.REGRESSION if not is_listed and labels.dim() == 1 else ProblemType.MULTI_LABEL
