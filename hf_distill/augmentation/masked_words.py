"""What a masked language model would write in place of a word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.augmentation.words import Word, tokenizer_fingerprint, whole_words
from hf_distill.errors import InputError
from hf_distill.evaluation.prediction import evaluating
from hf_distill.model_fingerprint import weights_fingerprint

_BATCH_SIZE = {"cpu": 32}
_BATCH_SIZE_OF_GPUS = 512


class MaskedWords:
    """Proposals of a masked language model: each word is masked alone, and the likeliest others are taken.

    Args:
        model: On its device.
        tokenizer: Its own.
        batch_size: Masked rows at once; chosen by the device if not given. It decides nothing but the speed.

    Raises:
        InputError: The tokenizer has no mask, or none of its tokens is a whole word.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int | None = None
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise InputError(
                "The tokenizer of augmentation_model has no mask token, so it belongs to no masked language model; "
                "name one that is."
            )
        self.model, self.tokenizer = model, tokenizer
        self._batch_size = batch_size or _BATCH_SIZE.get(model.device.type, _BATCH_SIZE_OF_GPUS)
        words = whole_words(tokenizer, min(model.config.vocab_size, len(tokenizer)))
        if not words:
            raise InputError(
                "None of the tokens of augmentation_model is a whole word, so it has none to propose; name another."
            )
        self._words = list(words.values())
        self._tokens = torch.tensor(list(words), device=model.device)
        self._places = {token: place for place, token in enumerate(words)}

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over weights and tokenizer."""
        parts = weights_fingerprint(self.model) + tokenizer_fingerprint(self.tokenizer)
        return hashlib.sha256(parts.encode()).hexdigest()

    def propose(self, encoded: BatchEncoding, words: Sequence[tuple[int, Word]], count: int) -> list[list[str]]:
        """The likeliest whole words in place of some words, in the order of the vocabulary.

        Args:
            encoded: Rows of this tokenizer, not padded.
            words: The number of a row, and a word in it that is one token.
            count: How many; the word itself, in whatever case, is not among them.
        """
        order = sorted(range(len(words)), key=lambda number: -len(encoded["input_ids"][words[number][0]]))
        proposed: list[list[str]] = [[] for _ in words]
        with evaluating(self.model), torch.inference_mode():
            for start in range(0, len(order), self._batch_size):
                some = order[start : start + self._batch_size]
                for number, places in zip(
                    some, self._likeliest(encoded, [words[i] for i in some], count), strict=True
                ):
                    own = words[number][1].text.casefold()
                    proposed[number] = [self._words[place] for place in places if self._words[place].casefold() != own]
        return proposed

    def _likeliest(self, encoded: BatchEncoding, words: list[tuple[int, Word]], count: int) -> list[list[int]]:
        names = [name for name in self.tokenizer.model_input_names if name in encoded]
        rows = [{name: list(encoded[name][row]) for name in names} for row, _ in words]
        positions = [word.positions[0] for _, word in words]
        own = [row["input_ids"][position] for row, position in zip(rows, positions, strict=True)]
        for row, position in zip(rows, positions, strict=True):
            row["input_ids"][position] = self.tokenizer.mask_token_id
        # Padding on the left would move the positions.
        batch = self.tokenizer.pad(rows, padding_side="right", return_tensors="pt").to(self.model.device)
        logits = self.model(**batch).logits[torch.arange(len(rows)), positions].float()[:, self._tokens]
        known = [(row, self._places[token]) for row, token in enumerate(own) if token in self._places]
        if known:
            at = torch.tensor(known, device=logits.device)
            logits[at[:, 0], at[:, 1]] = -torch.inf
        places = logits.topk(min(count, len(self._tokens))).indices
        # Candidates are drawn alike, and two of nearly the same probability may change places with the batch.
        return places.sort(dim=-1).values.tolist()
