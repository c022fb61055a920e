"""Orders of the rows: drawn from seed and epoch alone for training, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
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
        self.lengths = np.asarray(lengths)
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
        generator = np.random.default_rng([self.seed, self.epoch])
        shuffled = generator.permutation(len(self))
        rows = np.concatenate([self._sorted(group) for group in np.split(shuffled, self._group_ends())])
        num_steps = len(self) // self.batch_size
        in_full_steps = num_steps * self.batch_size
        if num_steps > 1:
            steps = generator.permutation(rows[:in_full_steps].reshape(num_steps, self.batch_size))
            longest = self.lengths[steps[:, 0]].argmax()
            steps[[0, longest]] = steps[[longest, 0]]
            rows = np.concatenate([steps.ravel(), rows[in_full_steps:]])
        return iter(rows.tolist())

    def _group_ends(self) -> range:
        """Where a group ends and the next one begins; the last also takes what fills no step."""
        num_steps = len(self) // self.batch_size
        steps_of_group = max(1, min(num_steps // 4, _LARGEST_GROUP))
        size = steps_of_group * self.batch_size
        return range(size, size * (num_steps // steps_of_group - 1) + 1, size)

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(-self.lengths[rows], kind="stable")]


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
