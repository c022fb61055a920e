"""How sure a model is of its answers."""

from torch import Tensor

from hf_distill.problem_type import ProblemType


def confidence(logits: Tensor, problem_type: ProblemType) -> Tensor:
    """The larger of what an answer can be, at temperature 1: the largest probability, or of each label on or off.

    Args:
        logits: ``(..., num_classes)``.
        problem_type: Not regression, whose scores say nothing of it.

    Returns:
        ``(...)``; with several labels at once ``(..., num_labels)``.
    """
    logits = logits.float()
    if problem_type is ProblemType.MULTI_LABEL:
        return logits.abs().sigmoid()
    return logits.softmax(-1).amax(-1)
