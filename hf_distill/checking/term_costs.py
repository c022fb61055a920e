"""What a term of the objective costs: memory while it is computed, and room in a cache.

Nothing is estimated that can be counted. The term is computed on tensors of the full size that have a shape and no
data (on the ``meta`` device), and what autograd keeps for the backward is added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_distill.attention_signals import AttentionSignals
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.losses.counted_items import find_counted_items
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.term import Term
from hf_distill.problem_type import ProblemType
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import Signals

_VALUE_BYTES = 4
_LARGEST_ON_CPU = 20_000_000
"""Values of the signals of a term that needs data to be computed."""


@dataclass(frozen=True)
class BatchShape:
    """How large the batches of a training are at most.

    Attributes:
        rows: In a batch on one device.
        tokens: Of its longest row.
        logits: ``(rows, [tokens,] num_classes)``.
        problem_type: Which losses fit.
        is_causal: No position attends to later ones.
    """

    rows: int
    tokens: int
    logits: tuple[int, ...]
    problem_type: ProblemType
    is_causal: bool


def memory_of_term(
    term: Term,
    student: ModelFacts,
    teacher: ModelFacts | None,
    shape: BatchShape,
    widths: Mapping[str, tuple[int, int]],
) -> int | None:
    """Bytes that a term adds to a batch: what it keeps of the teacher, and the maps it makes until the backward.

    What it looks at in the student is there for the backward anyway and not counted.

    Args:
        term: Resolved for both models.
        student: Its shape.
        teacher: The same of the teacher; None where the term does not look at one.
        shape: Of the batch.
        widths: By name, from and to which width projections go.

    Returns:
        Bytes in fp32; None where a term needs data to be computed, and there would be too much of it.
    """
    teacher = student if teacher is None else teacher
    try:
        return _counted(term, student, teacher, shape, widths, "meta")
    except (NotImplementedError, RuntimeError):
        # It picks rows by value, and how many there are is not known without data.
        values = _values(term.student_needs, student, shape) + _values(term.teacher_needs, teacher, shape)
        return None if values > _LARGEST_ON_CPU else _counted(term, student, teacher, shape, widths, "cpu")


def bytes_in_cache(needs: SignalNeeds, teacher: ModelFacts, tokens: float) -> float:
    """What a cache stores of a teacher's inside for a row, in fp32.

    Args:
        needs: Which signals.
        teacher: Its shape.
        tokens: Of the row.
    """
    per_token = len(needs.hidden_states) * (teacher.shape.hidden_size or 0)
    heads = len(needs.queries) * (teacher.shape.attention_heads or 0)
    heads += (len(needs.keys) + len(needs.values)) * (teacher.key_value_heads or 0)
    return _VALUE_BYTES * ((per_token + heads * (teacher.head_width or 0)) * tokens + len(needs.position_biases))


def _values(needs: SignalNeeds, model: ModelFacts, shape: BatchShape) -> float:
    return shape.rows * bytes_in_cache(needs, model, shape.tokens) / _VALUE_BYTES + torch.Size(shape.logits).numel()


def _counted(
    term: Term,
    student: ModelFacts,
    teacher: ModelFacts,
    shape: BatchShape,
    widths: Mapping[str, tuple[int, int]],
    device: str,
) -> int:
    with torch.random.fork_rng(devices=[]):
        maps = {name: nn.Linear(*width, device=device) for name, width in widths.items()}
    asked = _signals(student, term.student_needs, shape, device, requires_grad=True)
    told = _signals(teacher, term.teacher_needs, shape, device, requires_grad=False)
    batch = _micro_batch(shape, device, maps)
    given = [*_tensors(asked), *_tensors(told), *(weight for item in maps.values() for weight in item.parameters())]
    free = {tensor.untyped_storage()._cdata for tensor in given}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = term(asked, told, batch)
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in kept}
    del value
    made = sum(size for storage, size in storages.items() if storage not in free)
    return made + (sum(tensor.nbytes for tensor in _tensors(told)) if term.looks_at_teacher else 0)


def _signals(model: ModelFacts, needs: SignalNeeds, shape: BatchShape, device: str, requires_grad: bool) -> Signals:
    options: dict[str, Any] = {"device": device, "requires_grad": requires_grad}
    states = (shape.rows, shape.tokens, model.shape.hidden_size or 0)
    heads, fewer, width = model.shape.attention_heads or 0, model.key_value_heads or 0, model.head_width or 0

    def part(layer: int, layers: frozenset[int], count: int) -> Tensor | None:
        return torch.zeros(shape.rows, count, shape.tokens, width, **options) if layer in layers else None

    attention = {
        layer: AttentionSignals(
            part(layer, needs.queries, heads), part(layer, needs.keys, fewer), part(layer, needs.values, fewer), 1.0
        )
        for layer in needs.attention
    }
    hidden_states = {layer: torch.zeros(states, **options) for layer in needs.hidden_states}
    return Signals(torch.zeros(shape.logits, **options), hidden_states=hidden_states, attention=attention)


def _tensors(signals: Signals) -> list[Tensor]:
    parts = [part for item in signals.attention.values() for part in (item.query, item.key, item.value)]
    return [signals.dense_logits, *signals.hidden_states.values(), *(part for part in parts if part is not None)]


def _micro_batch(shape: BatchShape, device: str, maps: Mapping[str, nn.Module]) -> MicroBatch:
    by_token = shape.logits[:-1]
    kinds: dict[ProblemType, tuple[tuple[int, ...], torch.dtype]] = {
        ProblemType.SINGLE_LABEL: (by_token, torch.long),
        ProblemType.MULTI_LABEL: (shape.logits, torch.float),
        ProblemType.REGRESSION: (by_token, torch.float),
    }
    size, dtype = kinds[shape.problem_type]
    inputs = {
        "input_ids": torch.ones(shape.rows, shape.tokens, dtype=torch.long, device=device),
        "labels": torch.zeros(size, dtype=dtype, device=device),
    }
    counted = find_counted_items(inputs, shape.problem_type, shifts_labels=False, is_encoder_decoder=False)
    return MicroBatch(inputs["labels"], counted, counted.counts(), shape.problem_type, shape.is_causal, maps)
