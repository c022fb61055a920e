"""Orders of the training rows that depend on seed and epoch alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices


class SeededLengthGroupedSampler(LengthGroupedSampler):
    """Rows of similar length together, in an order drawn from seed and epoch.

    transformers' sampler draws from the global generator, which differs between processes and after a resume.

    Args:
        batch_size: Rows that should be of similar length: those of one optimiser step.
        lengths: The length of each row, in tokens.
        seed: Of the run.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The row numbers, each once."""
        seed = int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


class EpochCallback(TrainerCallback):
    """Tells the sampler its epoch, also where Accelerate's wrappers do not: after a resume on several processes."""

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader | None = None,
        **kwargs: Any,
    ) -> None:
        """Reach through the wrappers for the sampler itself."""
        batch_sampler: Any = getattr(train_dataloader, "batch_sampler", None)
        while hasattr(batch_sampler, "batch_sampler"):
            batch_sampler = batch_sampler.batch_sampler
        sampler: Any = getattr(batch_sampler, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(int(state.epoch or 0))
