"""The words of a text as a tokenizer sees them, and the words that are one token to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import BatchEncoding, PreTrainedTokenizerBase

from hf_distill.errors import InputError


@dataclass(frozen=True)
class Word:
    """A word that may be replaced: letters and nothing else.

    Attributes:
        side: 0 in the text, 1 in the second text.
        start: Where it begins there, in characters.
        end: Where it ends.
        text: The word as it is written.
        positions: Of its tokens in the encoded row.
    """

    side: int
    start: int
    end: int
    text: str
    positions: tuple[int, ...]


def find_words(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> tuple[BatchEncoding, list[list[Word]]]:
    """Encode rows, and find the words of each.

    Args:
        tokenizer: Its own rules tell what a word is.
        texts: One for each row.
        pairs: The second texts, None without pairs.
        max_length: Tokens; words behind that are left as they are.

    Returns:
        The encoded rows, not padded, and the words of each row in their order.
    """
    second = None if pairs is None else list(pairs)
    encoded = tokenizer(list(texts), second, truncation=True, max_length=max_length, return_offsets_mapping=True)
    sides = [texts] if pairs is None else [texts, pairs]
    return encoded, [_words(encoded, row, [side[row] for side in sides]) for row in range(len(texts))]


def _words(encoded: BatchEncoding, row: int, sides: list[str]) -> list[Word]:
    positions: dict[tuple[int, int], list[int]] = {}
    for position, (side, word) in enumerate(zip(encoded.sequence_ids(row), encoded.word_ids(row), strict=True)):
        if side is not None and word is not None:
            positions.setdefault((side, word), []).append(position)
    offsets = encoded["offset_mapping"][row]
    words = []
    for (side, _), tokens in positions.items():
        start, end = offsets[tokens[0]][0], offsets[tokens[-1]][1]
        text = sides[side][start:end]
        # Byte-level tokenizers may count the blank before a word as part of it.
        start += len(text) - len(text.lstrip())
        if text.strip().isalpha():
            words.append(Word(side, start, end, text.strip(), tuple(tokens)))
    return words


def whole_words(tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> dict[int, str]:
    """The tokens that stand for whole words of letters.

    Args:
        tokenizer: What cuts the texts.
        vocabulary_size: Ids from there on have no embedding.

    Returns:
        From a token's id to the word that is that token alone, behind a blank.
    """
    texts = [text.strip() for text in tokenizer.batch_decode([[token] for token in range(vocabulary_size)])]
    words = {token: text for token, text in enumerate(texts) if text.isalpha()}
    if not words:
        return {}
    again = tokenizer([f" {text}" for text in words.values()], add_special_tokens=False)["input_ids"]
    return {token: text for (token, text), tokens in zip(words.items(), again, strict=True) if tokens == [token]}


def check_tells_words(tokenizer: PreTrainedTokenizerBase, whose: str) -> None:
    """Check that a tokenizer tells which tokens make up a word.

    Raises:
        InputError: It does not.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"The tokenizer of {whose} does not tell where words are (it is not a fast one), so none can be replaced; "
            "name another augmentation_model, or leave words out of augmentation."
        )


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A SHA-256 over vocabulary and rules; how it last padded and cut does not count."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = {name: value for name, value in content.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
