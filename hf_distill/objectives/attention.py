"""The teacher's attention as target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.losses.attention_probability_loss import attention_probability_loss
from hf_distill.losses.attention_score_loss import attention_score_loss
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.layer_term import LayerTerm
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

ATTENTION_LOSSES = ("scores", "probabilities")
ATTENTION_HEADS = ("each", "sum")


@dataclass(frozen=True, kw_only=True)
class AttentionTransfer(LayerTerm):
    """The distance between the self-attention of pairs of layers, averaged over the pairs.

    Attributes:
        loss: ``scores``: squared error of the scores before the softmax (TinyBERT); ``probabilities``: KL divergence
            of the distributions after it (MobileBERT).
        heads: ``each``: head by head, which needs as many of them; ``sum``: all heads of a layer as one.
        layer_mapping: ``last``, ``auto`` or pairs of layers from 1; see :func:`resolve_layer_mapping`.

    Raises:
        InputError: A setting is unknown.
    """

    name: str = "attention_loss"
    loss: str = "scores"
    heads: str = "each"
    first_layer: ClassVar[int] = 1
    aligns_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.loss not in ATTENTION_LOSSES:
            raise InputError(f"attention_loss is {self.loss!r}; use one of {', '.join(ATTENTION_LOSSES)}.")
        if self.heads not in ATTENTION_HEADS:
            raise InputError(f"attention_heads is {self.heads!r}; use one of {', '.join(ATTENTION_HEADS)}.")

    def resolved(self, student: ModelShape, teacher: ModelShape) -> AttentionTransfer:
        """With the pairs of layers in place of the words; the embeddings, which have no attention, are left out.

        Raises:
            InputError: The layers are not there, or the heads cannot be compared one by one.
        """
        counts = (student.attention_heads, teacher.attention_heads)
        if self.heads == "each" and None not in counts and counts[0] != counts[1]:
            raise InputError(
                f"The student has {counts[0]} attention heads and the teacher {counts[1]}, and attention_heads is "
                "each: set it to sum, or use relation_weight, which cuts both into as many relation heads."
            )
        if isinstance(self.layer_mapping, str):
            return super().resolved(student, teacher)
        inside = tuple(pair for pair in self.pairs if pair != (0, 0))
        return super(AttentionTransfer, replace(self, layer_mapping=inside)).resolved(student, teacher)

    def needs_in(self, layers: frozenset[int]) -> SignalNeeds:
        """What scores are made from."""
        return SignalNeeds.scores(layers)

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """Average over the keys and queries that are attended, and over the pairs."""
        loss = attention_score_loss if self.loss == "scores" else attention_probability_loss
        values = []
        for student_layer, teacher_layer in self.pairs:
            scores, targets = _scores(student.attention[student_layer]), _scores(teacher.attention[teacher_layer])
            mask = batch.attended_keys(scores.shape[-1], scores.device)
            values.append(batch.average_over_positions(loss(scores, targets, mask, self.heads)))
        return torch.stack(values).mean()


def _scores(signals: AttentionSignals) -> Tensor:
    """``(batch, heads, queries, keys)``, before the mask and the softmax."""
    query, key = signals.query, signals.key
    if query is None or key is None:
        raise ValueError("Attention scores need queries and keys.")
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query.float() @ key.float().transpose(-1, -2) * signals.scaling
    return scores if signals.position_bias is None else scores + signals.position_bias.float()
