"""Several teachers as one: the logits whose soft targets are the weighted mean of theirs."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_distill.errors import InputError
from hf_distill.problem_type import ProblemType
from hf_distill.signals import MixedLogits, Signals


def teacher_logits(signals: Signals, temperature: float, problem_type: ProblemType) -> Tensor:
    """One teacher's logits as they are; of several those that :func:`mean_teacher_logits` gives.

    Args:
        signals: Not sparse.
        temperature: At which several are averaged.
        problem_type: Which answers are averaged.
    """
    if signals.mixed is None:
        return signals.dense_logits
    return mean_teacher_logits(signals.mixed, temperature, problem_type)


def mean_teacher_logits(mixed: MixedLogits, temperature: float, problem_type: ProblemType) -> Tensor:
    """The logits of one teacher that, at this temperature, answers with the weighted mean of the teachers' answers.

    Distributions are averaged, not logits: Σ w · softmax(z / T), the mean of an ensemble's soft targets
    (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 1). For labels that are each on or off it is
    Σ w · sigmoid(z / T), for scores Σ w · z.

    Args:
        mixed: The teachers' logits and weights.
        temperature: Softening, greater than 0; the result is right at no other. Scores have none.
        problem_type: Which answers are averaged.

    Returns:
        The shape of each teacher's logits, float32, for the losses that take one teacher's.

    Raises:
        InputError: The teachers' logits differ in shape.
    """
    shapes = [tuple(logits.shape) for logits in mixed.logits]
    if len(set(shapes)) > 1:
        raise InputError(
            f"The teachers' logits are {', '.join(map(str, shapes))}: a mean needs equal shapes. Use teachers with "
            "the same classes and the same tokenizer."
        )
    if problem_type is ProblemType.REGRESSION:
        weighted = (weight * logits.float() for logits, weight in zip(mixed.logits, mixed.weights, strict=True))
        return reduce(torch.add, weighted)
    scaled = [logits.float() / temperature for logits in mixed.logits]
    if problem_type is ProblemType.MULTI_LABEL:
        on = _log_mean([F.logsigmoid(logits) for logits in scaled], mixed.weights)
        off = _log_mean([F.logsigmoid(-logits) for logits in scaled], mixed.weights)
        return (on - off) * temperature
    return _log_mean([F.log_softmax(logits, dim=-1) for logits in scaled], mixed.weights) * temperature


def _log_mean(log_probs: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """The logarithm of Σ w · p, from those of p."""
    weighted = (values + math.log(weight) for values, weight in zip(log_probs, weights, strict=True))
    return reduce(torch.logaddexp, weighted)
