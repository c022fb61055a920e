"""The order in which variants take turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Name = TypeVar("Name")


def take_turns(names: Sequence[Name], rounds: int) -> Iterator[Name]:
    """Every name once a round, the first place going to the next one each time.

    Whatever else the machine does then weighs on all of them alike, and nobody always runs on the heels of the same.

    Example:
        >>> list(take_turns(["floor", "ours"], rounds=2))
        ['floor', 'ours', 'ours', 'floor']
    """
    for number in range(rounds):
        first = number % len(names)
        yield from names[first:]
        yield from names[:first]
