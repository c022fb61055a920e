"""A calibration batch on its way through a teacher, which stays as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor
from transformers import PreTrainedModel

_ROWS_AT_ONCE = 8
"""Rows that go through the model together, which bounds the memory for activations."""


def calibration_slices(model: PreTrainedModel, calibration: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The batch in slices of a few rows, on the model's device, while the model is in eval mode.

    Args:
        model: Its mode and its configuration are put back at the end, since a loss writes ``problem_type`` into it.
        calibration: Arguments of its forward, each with one entry for each row.
    """
    was_training, problem_type = model.training, model.config.problem_type
    rows = len(next(iter(calibration.values())))
    model.eval()
    try:
        for start in range(0, rows, _ROWS_AT_ONCE):
            chosen = slice(start, start + _ROWS_AT_ONCE)
            yield {name: values[chosen].to(model.device) for name, values in calibration.items()}
    finally:
        model.train(was_training)
        model.config.problem_type = problem_type
