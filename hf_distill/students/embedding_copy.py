"""A teacher's token embeddings in a student of another shape, where both know the same tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.errors import InputError


def copy_embeddings(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    student_tokenizer: PreTrainedTokenizerBase,
    teacher_tokenizer: PreTrainedTokenizerBase,
) -> int:
    """Gives the student, in place, the teacher's embedding of every token that both vocabularies spell alike.

    Into a narrower student go the coordinates along the first right singular vectors of the teacher's embeddings of
    these tokens: no other projection to that width keeps more of their squared length. Other tokens keep what they
    have. Output embeddings that the student ties change with them.

    Args:
        student: Filled.
        teacher: Left as it is.
        student_tokenizer: Whose ids the student reads.
        teacher_tokenizer: Whose ids the teacher reads.

    Returns:
        How many tokens were copied.

    Raises:
        InputError: The vocabularies share no token, or the student's embeddings are wider than the teacher's.

    Example:
        >>> from transformers import BertConfig, BertModel, BertTokenizer
        >>> tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5})
        >>> teacher = BertModel(BertConfig(vocab_size=9, num_hidden_layers=1, hidden_size=32, num_attention_heads=4))
        >>> student = BertModel(BertConfig(vocab_size=9, num_hidden_layers=1, hidden_size=16, num_attention_heads=4))
        >>> copy_embeddings(student, teacher, tokenizer, tokenizer)
        6
    """
    own, taught = _embeddings(student), _embeddings(teacher)
    if own.shape[1] > taught.shape[1]:
        raise InputError(
            f"the student's embeddings are {own.shape[1]} wide and the teacher's {taught.shape[1]}, which cannot fill "
            "them; use a student no wider than its teacher, or start it at random (student_init: random)"
        )
    own_ids, taught_ids = _ids_of_shared_tokens(student_tokenizer, len(own), teacher_tokenizer, len(taught))
    if not own_ids:
        raise InputError(
            "the student's vocabulary and the teacher's share no token, so no embedding can be copied; use a student "
            "with the teacher's tokenizer, or start it at random (student_init: random)"
        )
    vectors = taught[taught_ids].detach()
    if own.shape[1] < taught.shape[1]:
        vectors = _coordinates(vectors, own.shape[1])
    with torch.no_grad():
        own[own_ids] = vectors.to(own)
    return len(own_ids)


def _ids_of_shared_tokens(
    tokenizer: PreTrainedTokenizerBase, size: int, other: PreTrainedTokenizerBase, other_size: int
) -> tuple[list[int], list[int]]:
    """Of every token that both spell alike the two ids, where both tables have a row for it."""
    ids, other_ids = tokenizer.get_vocab(), other.get_vocab()
    pairs = sorted((ids[token], other_ids[token]) for token in ids.keys() & other_ids.keys())
    held = [pair for pair in pairs if pair[0] < size and pair[1] < other_size]
    return [pair[0] for pair in held], [pair[1] for pair in held]


def _embeddings(model: PreTrainedModel) -> Tensor:
    embeddings = model.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        raise InputError(
            f"{type(model).__name__} has no table of token embeddings, so none can be copied; start the student at "
            "random (student_init: random)"
        )
    return embeddings.weight


def _coordinates(vectors: Tensor, width: int) -> Tensor:
    """``(tokens, wide)`` to ``(tokens, width)``: along the first right singular vectors."""
    vectors = vectors.double()
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    return vectors @ directions.flip(1)[:, :width]
