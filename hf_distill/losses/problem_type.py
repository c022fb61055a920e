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
    labels at once, and all the rest, token by token or not, are exclusive classes. A module without a configuration
    is judged by the labels alone.

    Args:
        model: The student, unwrapped.
        labels: The batch's labels, if it has any.
    """
    config = getattr(model, "config", None)
    floating = labels is not None and labels.is_floating_point()
    if config is None:
        if not floating:
            return ProblemType.SINGLE_LABEL
        return ProblemType.REGRESSION if labels is not None and labels.dim() == 1 else ProblemType.MULTI_LABEL
    if not classifies_whole_examples(model):
        return ProblemType.SINGLE_LABEL
    if config.problem_type is not None:
        return ProblemType(config.problem_type)
    if config.num_labels == 1:
        return ProblemType.REGRESSION
    return ProblemType.MULTI_LABEL if floating else ProblemType.SINGLE_LABEL
