"""The teacher's relations among queries, keys and values as targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hf_distill.attention_signals import AttentionSignals
from hf_distill.errors import InputError
from hf_distill.losses.relation_loss import relation_loss
from hf_distill.model_shape import ModelShape
from hf_distill.objectives.layer_term import LayerTerm
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

_PARTS = ("query", "key", "value")
_FIELDS = {"query": "queries", "key": "keys", "value": "values"}
MINILM_V2 = ("query-query", "key-key", "value-value")


@dataclass(frozen=True, kw_only=True)
class Relations(LayerTerm):
    """KL divergence of scaled dot products among queries, keys and values, averaged over the relations and pairs.

    MiniLMv2 (Wang et al. 2021, https://arxiv.org/abs/2012.15828) relates queries with queries, keys with keys and
    values with values, of the student's last layer and an upper layer of the teacher. MiniLM (Wang et al. 2020,
    https://arxiv.org/abs/2002.10957) relates queries with keys and values with values, of both last layers. Both
    models are cut into the same number of relation heads, so neither widths nor heads need to agree.

    Attributes:
        relations: Pairs of ``query``, ``key`` and ``value``, joined by a hyphen.
        relation_heads: Into how many heads both are cut; None for as many as the teacher has.
        layer_mapping: ``last``, ``auto`` or pairs of layers from 1; see :func:`resolve_layer_mapping`.

    Raises:
        InputError: A setting is unknown.

    Example:
        >>> Relations(relations=("query-key", "value-value"), layer_mapping=[[3, 5]]).name
        'relation_loss'
    """

    name: str = "relation_loss"
    relations: Sequence[str] = MINILM_V2
    relation_heads: int | None = None
    first_layer: ClassVar[int] = 1
    mapping_name: ClassVar[str] = "relation_mapping"
    aligns_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        known = [f"{first}-{second}" for first in _PARTS for second in _PARTS]
        unknown = [relation for relation in self.relations if relation not in known]
        if unknown or not self.relations:
            raise InputError(f"relations is {list(self.relations)}; name one or more of {', '.join(known)}.")
        if self.relation_heads is not None and self.relation_heads < 1:
            raise InputError(f"relation_heads is {self.relation_heads}; use 1 or more.")

    def resolved(self, student: ModelShape, teacher: ModelShape) -> Relations:
        """With the pairs of layers and the number of relation heads.

        Raises:
            InputError: The layers are not there, or the number of heads is unknown.
        """
        heads = self.relation_heads or teacher.attention_heads
        if heads is None:
            raise InputError(
                "relation_heads is unset, and the teacher's configuration does not say how many heads it has; set it."
            )
        return super(Relations, replace(self, relation_heads=heads)).resolved(student, teacher)

    def needs_in(self, layers: frozenset[int]) -> SignalNeeds:
        """The queries, keys and values that are related."""
        parts = {part for relation in self.relations for part in relation.split("-")}
        return SignalNeeds(**{_FIELDS[part]: layers for part in parts})

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """Average over the attended queries, the relations and the pairs."""
        values = []
        for student_layer, teacher_layer in self.pairs:
            own, other = student.attention[student_layer], teacher.attention[teacher_layer]
            for relation in self.relations:
                first, second = relation.split("-")
                queries, keys = _part(own, first), _part(own, second)
                mask = batch.attended_keys(queries.shape[-2], queries.device)
                heads = self.relation_heads or 1
                loss = relation_loss(queries, keys, _part(other, first), _part(other, second), heads, mask)
                values.append(batch.average_over_positions(loss))
        return torch.stack(values).mean()


def _part(signals: AttentionSignals, name: str) -> Tensor:
    part = getattr(signals, name)
    if part is None:
        raise ValueError(f"The attention's {name} was not recorded.")
    return part
