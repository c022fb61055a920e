"""From texts to what a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

logger = logging.get_logger(__name__)


def tokenize(
    task_rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_seq_length: int, with_token_type_ids: bool
) -> Dataset:
    """Tokenize texts or pairs of texts, cut to `max_seq_length` tokens and not padded: the collator pads a batch.

    Rows with more tokens are counted in one warning. Nothing is read from or written to a cache on disk.

    Args:
        task_rows: Columns ``text``, perhaps ``text_pair``, and ``label``, as in `hf_distill.tasks.Task`.
        tokenizer: Of the student, and so of the teacher.
        max_seq_length: Tokens, special ones included; no more than the tokenizer's own limit is used.
        with_token_type_ids: Whether teacher or student take ``token_type_ids``.

    Returns:
        Columns ``input_ids``, ``attention_mask``, perhaps ``token_type_ids``, and ``labels``.
    """
    limit = min(max_seq_length, tokenizer.model_max_length)
    if limit < max_seq_length:
        logger.warning(f"max_seq_length is {max_seq_length}, but the tokenizer allows {limit} tokens; using {limit}.")

    def encode(rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        texts, pairs = rows["text"], rows["text_pair"] if "text_pair" in rows else None
        encoded = tokenizer(
            texts,
            pairs,
            truncation=True,
            max_length=limit,
            return_attention_mask=True,
            return_token_type_ids=with_token_type_ids,
        )
        lengths = [len(tokens) for tokens in encoded["input_ids"]]
        return {**encoded, "is_cut": _are_cut(tokenizer, texts, pairs, lengths, limit)}

    encoded = task_rows.map(
        encode,
        batched=True,
        remove_columns=[name for name in task_rows.column_names if name != "label"],
        keep_in_memory=True,
        load_from_cache_file=False,
        desc="Tokenizing",
    )
    cut = sum(encoded["is_cut"])
    if cut:
        logger.warning(
            f"{cut} of {len(encoded)} texts are longer than {limit} tokens and were cut; raise max_seq_length to keep "
            "more of them."
        )
    return encoded.remove_columns("is_cut").rename_column("label", "labels")


def _are_cut(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None, lengths: list[int], limit: int
) -> list[bool]:
    """Tell which rows lost tokens; only those that fill the limit can have, so only they are tokenized again."""
    cut = [False] * len(lengths)
    full = [index for index, length in enumerate(lengths) if length == limit]
    if full:
        whole = tokenizer(
            [texts[index] for index in full],
            None if pairs is None else [pairs[index] for index in full],
            truncation=False,
            verbose=False,
        )
        for index, tokens in zip(full, whole["input_ids"], strict=True):
            cut[index] = len(tokens) > limit
    return cut
