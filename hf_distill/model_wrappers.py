"""The model inside the wrappers that other libraries put around it."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn


def unwrapped(model: Any) -> Any:
    """The model inside PEFT's and torch.compile's wrappers."""
    model = getattr(model, "_orig_mod", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def forward_parameters(model: nn.Module) -> frozenset[str]:
    """The names of what a model's forward takes, without ``*args`` and ``**kwargs``.

    The wrappers' own forwards pass on whatever they are given, so the model inside is asked.
    """
    parameters = inspect.signature(unwrapped(model).forward).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in named)


def takes_argument(model: nn.Module, name: str) -> bool:
    """Whether a model's forward can be given an argument of this name, among its ``**kwargs`` or by itself."""
    parameters = inspect.signature(unwrapped(model).forward).parameters.values()
    return any(item.name == name or item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)
