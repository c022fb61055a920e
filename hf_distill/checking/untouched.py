"""Looking at a training without changing it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets.utils.py_utils import temp_seed
from torch import nn

from hf_distill.model_wrappers import unwrapped


@contextmanager
def untouched(model: nn.Module, device: torch.device, seed: int) -> Iterator[None]:
    """Put back, at the end of the block, all that forwards of a model and batches of rows change.

    These are the random numbers to come, in Python, NumPy and PyTorch, the model's buffers and modes, and the problem
    type that its configuration takes on at the first loss.

    Args:
        model: The student. Its weights must not be written to.
        device: On which it is.
        seed: From which the block draws.
    """
    config: Any = getattr(unwrapped(model), "config", None)
    problem_type = getattr(config, "problem_type", None)
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    of_python = random.getstate()
    try:
        with temp_seed(seed), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(of_python)
        with torch.no_grad():
            for buffer, old in buffers:
                buffer.copy_(old)
        for module, mode in modes:
            module.training = mode
        if config is not None and hasattr(config, "problem_type"):
            config.problem_type = problem_type
