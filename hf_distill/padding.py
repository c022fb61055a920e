"""Batches padded to their longest row."""

from __future__ import annotations

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

_TENSOR_CORE_MULTIPLE = 8


def padding_collator(tokenizer: PreTrainedTokenizerBase, device: torch.device) -> DataCollatorWithPadding:
    """Pads each batch to its longest row, and on CUDA devices to a multiple of 8 beyond it, which tensor cores want.

    Args:
        tokenizer: Its ``model_max_length`` is never exceeded: where that is no multiple of 8, nothing is rounded up.
        device: Where the model trains.
    """
    rounds_up = device.type == "cuda" and tokenizer.model_max_length % _TENSOR_CORE_MULTIPLE == 0
    return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=_TENSOR_CORE_MULTIPLE if rounds_up else None)
