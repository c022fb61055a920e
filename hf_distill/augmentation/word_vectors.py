"""Words that are near each other: by their own vectors, or by those of the tokens they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from hf_distill.augmentation.words import tokenizer_fingerprint, whole_words
from hf_distill.errors import InputError
from hf_distill.tasks.tables import read_lines

_QUERIES_AT_ONCE = 256


class WordVectors:
    """Words with vectors, and the nearest of them by cosine similarity.

    Args:
        words: Each once.
        vectors: ``(len(words), width)``.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor) -> None:
        self.words = list(words)
        self._vectors = vectors.detach().cpu().float()
        self._directions = F.normalize(self._vectors, dim=-1)
        self._places = {word: place for place, word in enumerate(self.words)}

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over words and vectors."""
        digest = hashlib.sha256("\n".join(self.words).encode())
        digest.update(self._vectors.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def vector(self, word: str) -> Tensor | None:
        """``(width,)``, None for a word that is not known, in lower case neither."""
        place = self._places.get(word, self._places.get(word.lower()))
        return None if place is None else self._vectors[place]

    def neighbours(self, words: Sequence[str], count: int) -> dict[str, list[str]]:
        """The nearest words of some words, the nearest first, themselves left out in whatever case.

        Args:
            words: Those that are not known get none.
            count: How many.
        """
        found: dict[str, list[str]] = {word: [] for word in words}
        vectors = {word: vector for word in found if (vector := self.vector(word)) is not None}
        known = list(vectors)
        for start in range(0, len(known), _QUERIES_AT_ONCE):
            some = known[start : start + _QUERIES_AT_ONCE]
            similarity = F.normalize(torch.stack([vectors[word] for word in some]), dim=-1) @ self._directions.T
            # A word may be there in lower case, capitalised and in capitals.
            nearest = similarity.topk(min(count + 3, len(self.words))).indices.tolist()
            for word, places in zip(some, nearest, strict=True):
                others = [self.words[place] for place in places if self.words[place].casefold() != word.casefold()]
                found[word] = others[:count]
        return found


class TokenVectors(WordVectors):
    """The token embeddings of a model as word vectors: a word's is the mean of its tokens'.

    Neighbours are words that are one token each.

    Args:
        tokenizer: The model's.
        embeddings: ``(vocabulary, width)``, those of its input.

    Raises:
        InputError: No token is a whole word.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, embeddings: Tensor) -> None:
        embeddings = embeddings.detach().cpu().float()
        words = whole_words(tokenizer, min(len(embeddings), len(tokenizer)))
        if not words:
            raise InputError(
                "None of the tokenizer's tokens is a whole word, so words have no neighbours among them; set "
                "augmentation_vectors, or leave words out of augmentation."
            )
        super().__init__(list(dict.fromkeys(words.values())), embeddings[list(words)])
        self._tokenizer, self._embeddings = tokenizer, embeddings

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over the whole words, their vectors and the tokenizer."""
        return hashlib.sha256(f"{super().fingerprint}{tokenizer_fingerprint(self._tokenizer)}".encode()).hexdigest()

    def vector(self, word: str) -> Tensor | None:
        """``(width,)``, the mean of the word's tokens'."""
        tokens = self._tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return self._embeddings[tokens].mean(dim=0) if tokens else None


def read_word_vectors(path: Path) -> WordVectors:
    """Read vectors as GloVe's are published (Pennington et al. 2014): on each line a word and its numbers.

    Words that are not made of letters alone are left out.

    Raises:
        InputError: If the file is missing or not text, or a line has another number of numbers than the first.
    """
    words: dict[str, np.ndarray] = {}
    width = None
    for number, line in enumerate(read_lines(path, newline="\n"), start=1):
        # Some of GloVe's words have blanks in them, so numbers are counted from the end.
        fields = line.rstrip("\r\n").rsplit(" ", -1 if width is None else width)
        width = len(fields) - 1 if width is None else width
        try:
            vector = np.array(fields[1:], dtype=np.float32)
        except ValueError:
            vector = np.empty(0, dtype=np.float32)
        if not width or len(vector) != width or not np.isfinite(vector).all():
            raise InputError(
                f"{path}, line {number}: found no word with {width or 'any'} numbers behind it, as the first has; "
                "give a text file of word vectors, as GloVe's."
            )
        if fields[0].isalpha():
            words.setdefault(fields[0], vector)
    if not words:
        raise InputError(f"{path} has no word of letters alone, so no word has neighbours in it; give another file.")
    return WordVectors(list(words), torch.from_numpy(np.stack(list(words.values()))))
