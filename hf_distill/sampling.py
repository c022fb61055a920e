"""Orders of the rows: drawn from seed and epoch alone for training, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_distill.row_lengths import longest_first

_LARGEST_GROUP = 200
"""Steps whose rows are sorted together; SST-2 then carries 1 % of padding, and 4 % with transformers' 50."""


class SeededLengthGroupedSampler(Sampler[int]):
    """Rows of similar length together, in an order drawn from seed and epoch.

    The rows are shuffled and cut into groups, at least four where there are enough of them; each group is sorted by
    length and cut into steps; and the steps of all groups are shuffled. The longest row comes first, so that memory
    runs out at once or never. transformers' sampler draws from the global generator, which differs between processes
    and after a resume, and leaves the steps sorted.

    Args:
        batch_size: Rows that should be of similar length: those of one optimiser step.
        lengths: The length of each row, in tokens.
        seed: Of the run.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        self.batch_size = batch_size
        self.lengths = torch.tensor(lengths, dtype=torch.long)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The row numbers, each once."""
        seed = int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        full_steps, rest = divmod(len(self), self.batch_size)
        shuffled = torch.randperm(len(self), generator=generator)
        rows = torch.cat([self._sorted(group) for group in shuffled.split(self._group_sizes())])
        if full_steps > 1:
            steps = rows[: len(self) - rest].view(full_steps, self.batch_size)
            steps = steps[torch.randperm(full_steps, generator=generator)]
            longest = int(self.lengths[steps[:, 0]].argmax())
            steps[[0, longest]] = steps[[longest, 0]]
            rows = torch.cat([steps.flatten(), rows[len(self) - rest :]])
        return iter(rows.tolist())

    def _group_sizes(self) -> list[int]:
        """All but the last are whole steps; the last takes what is left, so that its first step is a full one."""
        full_steps = len(self) // self.batch_size
        steps = max(1, min(full_steps // 4, _LARGEST_GROUP))
        sizes = [steps * self.batch_size] * max(0, full_steps // steps - 1)
        return [*sizes, len(self) - sum(sizes)]

    def _sorted(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[self.lengths[rows].argsort(descending=True, stable=True)]


class LongestFirstSampler(Sampler[int]):
    """The longest rows first, so that little of an evaluation is padding.

    Args:
        lengths: The length of each row, in tokens.

    Attributes:
        order: The row numbers.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.order = longest_first(lengths)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        """The row numbers, each once."""
        return iter(self.order)


def sampler_inside(dataloader: DataLoader | None) -> Any:
    """The sampler of rows inside the wrappers that Accelerate puts around it; None if there is none."""
    batch_sampler: Any = getattr(dataloader, "batch_sampler", None)
    while hasattr(batch_sampler, "batch_sampler"):
        batch_sampler = batch_sampler.batch_sampler
    return getattr(batch_sampler, "sampler", None)


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
        sampler = sampler_inside(train_dataloader)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(int(state.epoch or 0))
