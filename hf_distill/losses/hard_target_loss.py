"""The ordinary task loss against the labels, one value for each target so that the caller decides the average."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_distill.problem_type import IGNORE_INDEX, ProblemType


def hard_target_loss(
    logits: Tensor, labels: Tensor, problem_type: ProblemType, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy, binary cross-entropy or squared error against the labels, not yet averaged.

    Args:
        logits: ``(..., num_classes)``; for regression ``(batch, 1)`` or ``(batch, num_outputs)``.
        labels: For classes ``(...)`` integers, -100 where a position has none; for several labels at once
            ``(..., num_labels)`` floats between 0 and 1, -100 where one is unknown; for regression the scores, NaN
            where one is unknown.
        problem_type: Which of the three losses.
        label_smoothing: Share of the target that is spread evenly over all classes (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567, section 7); for exclusive classes only.

    Returns:
        The shape of ``labels``, with 0 where there is no label.
    """
    if problem_type is ProblemType.REGRESSION:
        scores = logits.reshape(labels.shape).float()
        return F.mse_loss(scores, torch.where(labels.isnan(), scores.detach(), labels.float()), reduction="none")
    if problem_type is ProblemType.MULTI_LABEL:
        counted = labels != IGNORE_INDEX
        targets = torch.where(counted, labels, 0).float()
        return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none") * counted
    loss = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        labels.reshape(-1).long(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return loss.reshape(labels.shape)
