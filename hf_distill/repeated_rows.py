"""Which rows of a batch Accelerate repeated, to give all processes batches of equal size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch import Tensor
from torch.utils.data import DataLoader


def rows_that_count(batch: Mapping[str, Any], dataloader: DataLoader | None, process_index: int) -> Tensor:
    """``(batch,)`` booleans, False for repeated rows, which come at the end of the last batch.

    Args:
        batch: What this process was given.
        dataloader: Where it comes from, as Accelerate prepared it; None if no row is repeated.
        process_index: The place of this process's batch among those of all processes.
    """
    first = next(value for value in batch.values() if isinstance(value, Tensor))
    place = torch.arange(first.shape[0], device=first.device) + process_index * first.shape[0]
    rows = _rows_of_last_batches(dataloader) if getattr(dataloader, "end_of_dataloader", False) else 0
    return place < rows if rows > 0 else torch.ones_like(place, dtype=torch.bool)


def _rows_of_last_batches(dataloader: Any) -> int:
    """How many rows the last batches of all processes hold together, repeats left out; 0 if there are no repeats."""
    if dataloader.remainder > 0:
        return dataloader.remainder
    skipping = dataloader.batch_sampler
    if not isinstance(skipping, SkipBatchSampler) or not isinstance(skipping.batch_sampler, BatchSamplerShard):
        return 0
    # Accelerate does not know its own remainder in an epoch that was resumed in the middle.
    shard = skipping.batch_sampler
    return 0 if shard.drop_last else len(dataloader.dataset) % (shard.batch_size * shard.num_processes)
