"""Batches without padding: sequences joined into one row, each attending to itself alone.

Whether a model keeps joined sequences apart depends on its attention implementation and on what its forward passes on
to it. Where it does not, nothing fails and every answer is wrong, so models are asked.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, send_to_device
from torch import Tensor
from transformers import DataCollatorWithFlattening
from transformers.modeling_flash_attention_utils import FlashAttentionKwargs

from hf_distill.errors import InputError
from hf_distill.model_wrappers import forward_parameters, unwrapped
from hf_distill.signals import Signals

_FIRST = ([1, 2], [3, 4])
_SECOND = [5, 6, 7]
_TOLERANCE = 1e-5
_ADVICE = (
    "use a collator that pads, a causal language model, or attn_implementation=flash_attention_2 with "
    "DataCollatorWithFlattening(return_flash_attn_kwargs=True)."
)
_SHARDING = (DistributedType.FSDP, DistributedType.DEEPSPEED)


def boundary_names(model: Any) -> frozenset[str]:
    """The entries of a batch that tell flash attention where sequences end, if the model's forward passes them on."""
    parameters = inspect.signature(unwrapped(model).forward).parameters.values()
    passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return frozenset(FlashAttentionKwargs.__annotations__) if passes_on else frozenset()


def check_nothing_is_repeated(collator: Any, num_processes: int, drops_last: bool) -> None:
    """Check that no joined row holds a sequence that Accelerate repeats to give all processes equally many.

    Raises:
        InputError: One might.
    """
    if isinstance(collator, DataCollatorWithFlattening) and num_processes > 1 and not drops_last:
        raise InputError(
            f"DataCollatorWithFlattening joins sequences, and {num_processes} processes get equally many by repeating "
            "some, which in a joined row would count twice: set dataloader_drop_last, or use a collator that pads."
        )


def check_rows_stay_rows(collator: Any) -> None:
    """Check that a batch has a row for each example, to which a stored answer can belong.

    Raises:
        InputError: The collator joins them.
    """
    if isinstance(collator, DataCollatorWithFlattening):
        raise InputError(
            "DataCollatorWithFlattening joins the rows of a batch into one, and a stored answer belongs to a row: use "
            "a collator that pads, or the teacher itself in place of a cache."
        )


def check_keeps_sequences_apart(model: Any, collator: Any, accelerator: Accelerator, **options: Any) -> None:
    """Check that a model answers each of the sequences that ``DataCollatorWithFlattening`` joins as if it were alone.

    Two joined sequences are answered twice, with another first one each time: the answers to the second must be equal.
    Models that are sharded over processes are not asked.

    Args:
        model: The student or the teacher, on its device.
        collator: Of the training; any other than ``DataCollatorWithFlattening`` is fine.
        accelerator: Of the training.
        **options: What the model's forward is always given.

    Raises:
        InputError: The model mixes the sequences, or gives one answer for each row.
    """
    if not isinstance(collator, DataCollatorWithFlattening) or accelerator.distributed_type in _SHARDING:
        return
    name = f"{type(unwrapped(model)).__name__} (attention: {_attention_of(model)})"
    if "position_ids" not in forward_parameters(model):
        raise InputError(f"{name} takes no position_ids, without which joined sequences have no beginning: {_ADVICE}")
    first, second = (_answers(model, collator, tokens, accelerator, options) for tokens in _FIRST)
    length = len(_FIRST[0]) + len(_SECOND)
    if first.dim() != 3 or first.shape[1] != length:
        raise InputError(
            f"{name} gives one answer for each row, and DataCollatorWithFlattening joins all sequences of a batch "
            f"into one row: {_ADVICE}"
        )
    first, second = first[:, -len(_SECOND) :], second[:, -len(_SECOND) :]
    if (first - second).abs().max() > _TOLERANCE * first.abs().max():
        raise InputError(
            f"{name} attends from one of the sequences that DataCollatorWithFlattening joins to the next, so that "
            f"every answer would be wrong: {_ADVICE}"
        )


def _answers(
    model: Any,
    collator: DataCollatorWithFlattening,
    first: list[int],
    accelerator: Accelerator,
    options: dict[str, Any],
) -> Tensor:
    """``(1, 5, num_classes)`` for two joined sequences, in evaluation mode and at the training's precision."""
    batch = collator([{"input_ids": tokens, "labels": tokens} for tokens in (first, _SECOND)])
    known = forward_parameters(model) | boundary_names(model)
    inputs = {name: value for name, value in batch.items() if name in known and name != "labels"}
    was_training = model.training
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        # Not by a call, which would compile a compiled model for a batch that never comes again.
        output = model.forward(**send_to_device(inputs, next(model.parameters()).device), **options)
    model.train(was_training)
    return Signals.from_model_output(output).dense_logits.float()


def _attention_of(model: Any) -> str:
    return getattr(getattr(model, "config", None), "_attn_implementation", None) or "unknown"
