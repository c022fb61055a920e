"""The rows of one split as they were read, with the place each came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers.utils import logging

from hf_distill.errors import InputError

logger = logging.get_logger(__name__)


@dataclass
class Split:
    """Texts and labels as they were read.

    Attributes:
        origin: What the rows were read from, for messages.
        has_pairs: Whether each row has two texts.
        unit: What `numbers` count: ``"line"`` or ``"row"``.
        texts: One a row.
        pairs: The second texts, None without pairs.
        labels: As they were read.
        numbers: Where each row stands in its origin.
    """

    origin: str
    has_pairs: bool
    unit: str = "line"
    texts: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    pairs: list[str] | None = field(init=False)

    def __post_init__(self) -> None:
        """Make room for the second texts."""
        self.pairs = [] if self.has_pairs else None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def add(self, number: int, text: str, pair: str | None, label: Any) -> None:
        """Add one row; `pair` is left out without pairs."""
        self.numbers.append(number)
        self.texts.append(text)
        self.labels.append(label)
        if self.pairs is not None:
            self.pairs.append(pair or "")

    def part(self, is_taken: Sequence[bool]) -> Split:
        """Some of the rows, one bool for each tells which."""
        part = Split(self.origin, self.has_pairs, self.unit)
        for index, taken in enumerate(is_taken):
            if taken:
                pair = None if self.pairs is None else self.pairs[index]
                part.add(self.numbers[index], self.texts[index], pair, self.labels[index])
        return part

    def shown_numbers(self) -> str:
        """Where the first rows stand, such as ``line 3, 8, 9``."""
        return _shown(self.unit, self.numbers)

    def place(self, index: int) -> str:
        """Where the row of this index came from, such as ``train.csv, line 17``."""
        return f"{self.origin}, {self.unit} {self.numbers[index]}"

    def require_rows(self) -> Split:
        """Return the split itself, or raise `InputError` where it holds no row."""
        if not len(self):
            raise InputError(f"{self.origin} holds no rows, so there is nothing to learn or compare; add some.")
        return self

    def warn_of_dropped(self, dropped: Iterable[int]) -> None:
        """Say how many rows were left out because a field was empty or missing, and where the first ones are."""
        numbers = list(dropped)
        if numbers:
            logger.warning(
                f"{self.origin}: {len(numbers)} of {len(self) + len(numbers)} rows were left out because a field is "
                f"empty, missing or one too many ({_shown(self.unit, numbers)})."
            )


def _shown(unit: str, numbers: Sequence[int]) -> str:
    return f"{unit} " + ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
