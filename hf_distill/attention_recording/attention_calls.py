"""Recording models whose attention goes through transformers' attention interface, which most do.

An attention module asks its configuration for the name of an attention function and hands it the split heads. While a
module is recorded it holds a copy of its configuration that names a function of ours, which hands the heads on to the
recorder and then to the function that the model had. Everything outside the module (masks, the model's own
configuration, what is saved, another model that shares the configuration) sees no difference.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from hf_distill.attention_recording.layer_recorder import LayerRecorder
from hf_distill.errors import InputError

_RECORDING = "hf_distill_recording"
_SMALLEST_BIAS = -50.0
_modules_with_plain_masks: WeakSet[nn.Module] = WeakSet()


def _calling_code(module: nn.Module) -> FunctionType | None:
    """The method of an attention that looks up its attention function; None for any other module."""
    module_class: type = type(module)
    return _calling_code_of_class(module_class)


@functools.cache
def _calling_code_of_class(module_class: type) -> FunctionType | None:
    for owner in module_class.__mro__:
        for method in vars(owner).values():
            function = inspect.unwrap(method) if callable(method) else None
            if isinstance(function, FunctionType) and "ALL_ATTENTION_FUNCTIONS" in function.__code__.co_names:
                return function
    return None


def calls_attention_function(module: nn.Module) -> bool:
    """Whether ``module`` is an attention that goes through transformers' attention interface."""
    return _calling_code(module) is not None and hasattr(module, "config")


def changes_scores(module: nn.Module) -> str | None:
    """What the attention does to its scores beside adding a position bias and a mask; None where it is nothing."""
    if getattr(module, "attn_logit_softcapping", None) is not None:
        return "soft-caps them"
    if isinstance(getattr(module, "sinks", None), Tensor):
        return "has attention sinks beside them"
    return None


@contextmanager
def recording_calls(module: nn.Module, recorder: LayerRecorder) -> Iterator[None]:
    """While open, what ``module`` gives its attention function goes to ``recorder``; contexts may be nested."""
    original = module.config
    recording: Any = copy.copy(original)
    recording._attn_implementation_internal = _RECORDING
    recording.original_config = original
    recording.attention_recorder = recorder
    recording.original_attention = _attention_function(module)
    module.config = recording
    try:
        yield
    finally:
        module.config = original


def _attention_function(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The function that ``module`` would call; that for eager attention lies beside the module's class."""
    code = _calling_code(module)
    if code is None:
        raise ValueError(f"{type(module).__name__} calls no attention function.")
    eager = next((name for name in code.__code__.co_names if name.endswith("eager_attention_forward")), "")
    functions = code.__globals__["ALL_ATTENTION_FUNCTIONS"]
    config: Any = module.config
    return functions.get_interface(config._attn_implementation, code.__globals__.get(eager))


def _record_and_attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    recording: Any = module.config
    _record(recording.attention_recorder, module, query, key, value, attention_mask, kwargs)
    # Flash attention reads its own name off the configuration. After an error the context restores it.
    module.config = recording.original_config
    attended = recording.original_attention(module, query, key, value, attention_mask, **kwargs)
    module.config = recording
    return attended


AttentionInterface.register(_RECORDING, _record_and_attend)


def _record(
    recorder: LayerRecorder,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    kwargs: dict[str, Any],
) -> None:
    if recorder.scores_are_needed:
        _refuse_other_scores(recorder, kwargs)
        if attention_mask is not None and attention_mask.is_floating_point():
            _refuse_bias_in_mask(recorder, module, attention_mask)
    scaling = kwargs.get("scaling")
    recorder.record(
        query, key, value, query.shape[-1] ** -0.5 if scaling is None else float(scaling), kwargs.get("position_bias")
    )


def _refuse_other_scores(recorder: LayerRecorder, kwargs: dict[str, Any]) -> None:
    for name in ("softcap", "s_aux", "sinks"):
        if kwargs.get(name) is not None:
            raise InputError(recorder.scores_refused(f"has `{name}`, which changes them"))


@torch.compiler.disable
def _refuse_bias_in_mask(recorder: LayerRecorder, module: nn.Module, attention_mask: Tensor) -> None:
    """Refuses a mask that holds more than zeros and very negative numbers.

    Its values are looked at once for each module, since that makes the host wait for an accelerator.
    """
    if module in _modules_with_plain_masks:
        return
    if ((attention_mask != 0) & (attention_mask > _SMALLEST_BIAS)).any():
        raise InputError(recorder.scores_refused("adds a bias to them that is mixed with its mask"))
    _modules_with_plain_masks.add(module)
