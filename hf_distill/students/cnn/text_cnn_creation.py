"""A text CNN that starts from its teacher's token embeddings."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.cnn.modeling_text_cnn import TextCnnConfig, TextCnnForSequenceClassification


def create_text_cnn(
    teacher: PreTrainedModel,
    num_layers: int = 6,
    hidden_size: int | None = None,
    embedding_rank: int | None = None,
    seed: int = 0,
) -> TextCnnForSequenceClassification:
    """A convolutional student that reads the teacher's tokens and answers with its labels.

    Its token embeddings are the teacher's, factorised: of the teacher's table, ``embedding_rank`` numbers are kept
    for each token, those that miss the least of it (truncated singular value decomposition; Eckart and Young 1936).
    All else is drawn from ``seed``. The student is in eval mode and shares no memory with the teacher.

    Args:
        teacher: A model for texts with a table of token embeddings, whole and in memory.
        num_layers: Convolution layers.
        hidden_size: Their width. Unset, that of the teacher's embeddings, which the student's then approximate
            directly; at another width they stand in a frame of their own, with the same distances between them.
        embedding_rank: Numbers kept for each token, fewer than in the teacher; unset, a third, or ``hidden_size``
            where that is less.
        seed: Draws the weights; the global generator is left as it is.

    Raises:
        InputError: The teacher has no such table, or a number does not fit it.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(num_hidden_layers=2, hidden_size=36, num_attention_heads=4, num_labels=3)
        >>> student = create_text_cnn(BertForSequenceClassification(config))
        >>> student.config.num_hidden_layers, student.config.embedding_rank, student.config.num_labels
        (6, 12, 3)
    """
    table = _token_table(teacher)
    vocab_size, width = table.shape
    hidden_size = width if hidden_size is None else hidden_size
    rank = max(1, min(width // 3, hidden_size, vocab_size)) if embedding_rank is None else embedding_rank
    _check_sizes(num_layers, hidden_size, rank, table)
    config = TextCnnConfig(
        vocab_size=vocab_size,
        embedding_rank=rank,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        pad_token_id=getattr(teacher.config, "pad_token_id", None),
        id2label=copy.copy(teacher.config.id2label),
        label2id=copy.copy(teacher.config.label2id),
        problem_type=teacher.config.problem_type,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = TextCnnForSequenceClassification(config)
    tokens, directions = factorise(table, rank)
    if hidden_size != width:
        directions = torch.eye(rank, hidden_size)
    with torch.no_grad():
        student.embeddings.tokens.weight.copy_(tokens)
        student.embeddings.projection.weight.copy_(directions.T)
    return student.eval()


def factorise(table: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The product of two thin matrices that comes nearest to a table, in the sum of squared differences.

    Args:
        table: ``(rows, width)``.
        rank: The width of the first and the height of the second.

    Returns:
        ``(rows, rank)``, and ``(rank, width)`` with orthonormal rows, both float32 on the CPU.
    """
    left, sizes, right = torch.linalg.svd(table.detach().float().cpu(), full_matrices=False)
    return left[:, :rank] * sizes[:rank], right[:rank]


def _token_table(teacher: PreTrainedModel) -> Tensor:
    try:
        table = teacher.get_input_embeddings()
    except NotImplementedError:
        table = None
    if not isinstance(table, nn.Embedding):
        raise InputError(
            f"{type(teacher).__name__} has no table of token embeddings, and a text CNN starts from the teacher's; "
            "use a teacher for texts, or create_image_cnn for one for images"
        )
    if table.weight.is_meta:
        raise InputError(
            "the teacher's token embeddings are not in memory (offloaded by device_map); load the teacher on the CPU "
            "or on one device to create the student"
        )
    return table.weight


def _check_sizes(num_layers: int, hidden_size: int, rank: int, table: Tensor) -> None:
    if num_layers < 1:
        raise InputError(f"num_layers is {num_layers}, and a CNN needs a layer; use 1 or more")
    if not 1 <= rank <= min(*table.shape, hidden_size):
        raise InputError(
            f"embedding_rank is {rank}; it is at least 1, and no more than the width of the student's layers "
            f"({hidden_size}) or than height and width of the teacher's table of embeddings ({tuple(table.shape)})"
        )
