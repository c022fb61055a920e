"""How rows are made of other rows: other words in a text, other partners in a pair."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hf_distill.augmentation.proposals import WordProposals
from hf_distill.augmentation.words import Word

Texts = tuple[str, ...]
"""The one or two texts of a row."""


class Augmenter:
    """Makes rows without labels; what is made of a row depends on its texts alone, and not on where it stands.

    Args:
        rows: The texts of all rows, each of one text or each of two.
        copies: How many rows each kind makes of a row, at most: TinyBERT's N_a. Doublets are left out.
        probability: Of replacing a word: p_t.
        words: Candidates for the words; None to replace none.
        joins_pairs: Whether texts of different pairs are joined.
    """

    def __init__(
        self,
        rows: Sequence[Texts],
        copies: int,
        probability: float,
        words: WordProposals | None = None,
        joins_pairs: bool = False,
    ) -> None:
        self.rows, self.copies, self.probability = rows, copies, probability
        self.words, self.joins_pairs = words, joins_pairs
        self._known = set(rows)
        self._partners = Counter(row[0] for row in self._known)
        self._seconds = sorted({row[1] for row in rows}) if joins_pairs else []

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is made, fit for JSON."""
        return {
            "rows": hashlib.sha256(json.dumps(list(self.rows)).encode()).hexdigest(),
            "copies": self.copies,
            "probability": self.probability,
            "words": None if self.words is None else self.words.settings,
            "joins_pairs": self.joins_pairs,
        }

    def of_rows(self, numbers: Sequence[int]) -> Iterator[tuple[Texts, int, str]]:
        """What is made of some rows: the texts, the number of the row, and ``"words"`` or ``"pairs"``."""
        rows = [self.rows[number] for number in numbers]
        if self.words is not None:
            pairs = [row[1] for row in rows] if len(rows[0]) > 1 else None
            proposed = self.words.of_rows([row[0] for row in rows], pairs)
            for number, row, words in zip(numbers, rows, proposed, strict=True):
                yield from ((texts, number, "words") for texts in self._with_other_words(row, words))
        if self.joins_pairs:
            for number, row in zip(numbers, rows, strict=True):
                yield from ((texts, number, "pairs") for texts in self._with_other_partners(row))

    def _with_other_words(self, row: Texts, words: Sequence[tuple[Word, list[str]]]) -> Iterator[Texts]:
        """Of a pair one text at a time is changed, in turn, so that the other still gives it its meaning."""
        chance, made = _chance("words", row), set()
        for copy in range(self.copies):
            side = copy % len(row)
            replaced = []
            for word, candidates in words:
                if word.side == side:
                    candidate = candidates[chance.integers(len(candidates))]
                    if chance.random() <= self.probability:
                        replaced.append((word, candidate))
            texts = (*row[:side], _replace(row[side], replaced), *row[side + 1 :])
            if texts not in self._known and texts not in made:
                made.add(texts)
                yield texts

    def _with_other_partners(self, row: Texts) -> Iterator[Texts]:
        chance = _chance("pairs", row)
        # More than wanted, since partners that it has may be among them.
        wanted = self.copies + self._partners[row[0]]
        drawn = chance.choice(len(self._seconds), min(wanted, len(self._seconds)), replace=False)
        joined = [(row[0], self._seconds[partner]) for partner in drawn.tolist()]
        yield from [texts for texts in joined if texts not in self._known][: self.copies]


def _chance(kind: str, row: Texts) -> np.random.Generator:
    digest = hashlib.sha256(json.dumps([kind, *row]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _replace(text: str, replaced: Sequence[tuple[Word, str]]) -> str:
    for word, candidate in sorted(replaced, key=lambda item: -item[0].start):
        text = text[: word.start] + candidate + text[word.end :]
    return text
