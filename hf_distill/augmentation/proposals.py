"""Which words may stand in place of a word: TinyBERT's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_distill.augmentation.masked_words import MaskedWords
from hf_distill.augmentation.word_vectors import WordVectors
from hf_distill.augmentation.words import Word, find_words, tokenizer_fingerprint


class WordProposals:
    """Candidates for the words of a row (Jiao et al. 2020, https://arxiv.org/abs/1909.10351, algorithm 1).

    A word that is one token to a masked language model gets the words that the model finds likeliest in its place, the
    row being otherwise as it was, both texts of a pair together; all others get their neighbours among word vectors.

    Args:
        tokenizer: Tells what a word is: that of the masked language model where there is one.
        vectors: For neighbours.
        count: How many candidates a word gets, at most: K.
        max_length: Tokens; words behind that have no candidates.
        masked: Proposals of a masked language model; without them all words get neighbours.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vectors: WordVectors,
        count: int,
        max_length: int,
        masked: MaskedWords | None = None,
    ) -> None:
        self.tokenizer, self.vectors, self.count, self.max_length = tokenizer, vectors, count, max_length
        self.masked = masked
        self._neighbours: dict[str, list[str]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the candidates, fit for JSON."""
        return {
            "tokenizer": tokenizer_fingerprint(self.tokenizer),
            "vectors": self.vectors.fingerprint,
            "masked": None if self.masked is None else self.masked.fingerprint,
            "candidates": self.count,
            "max_length": self.max_length,
        }

    def of_rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[list[tuple[Word, list[str]]]]:
        """The words of each row that have candidates, and those."""
        encoded, words = find_words(self.tokenizer, texts, pairs, self.max_length)
        single = [
            (row, word)
            for row, found in enumerate(words)
            for word in found
            if self.masked is not None and len(word.positions) == 1
        ]
        proposed: dict[tuple[int, Word], list[str]] = {}
        if self.masked is not None:
            proposed = dict(zip(single, self.masked.propose(encoded, single, self.count), strict=True))
        others = {word.text for row, found in enumerate(words) for word in found if (row, word) not in proposed}
        self._look_up(sorted(others - set(self._neighbours)))
        candidates = [
            [(word, proposed.get((row, word), self._neighbours.get(word.text, []))) for word in found]
            for row, found in enumerate(words)
        ]
        return [[(word, others) for word, others in row if others] for row in candidates]

    def _look_up(self, words: list[str]) -> None:
        self._neighbours |= self.vectors.neighbours(words, self.count)
