"""What each term of an objective will touch, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from hf_distill.checking.model_facts import ModelFacts
from hf_distill.checking.term_costs import BatchShape, bytes_in_cache, memory_of_term
from hf_distill.objectives.layer_term import LayerTerm
from hf_distill.objectives.stages import Stage, Stages
from hf_distill.objectives.term import Term
from hf_distill.schedules import Schedule
from hf_distill.signal_needs import SignalNeeds

_KINDS = {"hidden_states": "hidden states", "queries": "queries", "keys": "keys", "values": "values"}
_ALWAYS_SHOWN = ("loss", "temperature")
_SHOWN_ELSEWHERE = ("weight", "name", "layer_mapping")


@dataclass(frozen=True)
class TermFacts:
    """One term of one stage.

    Attributes:
        name: Under which it is logged.
        weight: In words, its schedule included.
        settings: The same of what else it is made with.
        touches: What it looks at in both models.
        pairs: The layers that it compares, student first.
        memory: Bytes that it adds to a batch of the largest size; None if unknown.
        cache: Bytes that a cache stores for it for an average row, beside the answers; None if unknown or nothing.
    """

    name: str
    weight: str
    settings: str
    touches: str
    pairs: tuple[tuple[int, int], ...]
    memory: int | None
    cache: float | None


@dataclass(frozen=True)
class StageFacts:
    """One part of a training.

    Attributes:
        name: For the log; empty where there is but one.
        share: Of all steps.
        learning_rate: At its peak.
        terms: What the student learns from in it.
    """

    name: str
    share: float
    learning_rate: float
    terms: tuple[TermFacts, ...]


def stage_facts(
    stages: Stages,
    learning_rate: float,
    student: ModelFacts,
    teacher: ModelFacts | None,
    shape: BatchShape | None,
    mean_tokens: float | None,
) -> tuple[StageFacts, ...]:
    """Of all stages, resolved for both models.

    Args:
        stages: What the student learns from.
        learning_rate: Of stages that have none of their own.
        student: Its shape.
        teacher: The same of the teacher; None without one.
        shape: Of the largest batch; None if unknown.
        mean_tokens: Of a row; None if unknown.
    """
    shapes = (student.shape, teacher.shape) if teacher is not None else None
    widths = stages.projections(*shapes) if shapes is not None and stages.looks_inside else {}

    def of_term(term: Term) -> TermFacts:
        inside = None
        if teacher is not None and mean_tokens is not None and term.looks_inside:
            inside = bytes_in_cache(term.teacher_needs, teacher, mean_tokens)
        return TermFacts(
            name=term.name,
            weight=in_words(term.weight),
            settings=_settings(term),
            touches=_touches(term),
            pairs=term.pairs if isinstance(term, LayerTerm) else (),
            memory=None if shape is None else memory_of_term(term, student, teacher, shape, widths),
            cache=inside,
        )

    def of_stage(stage: Stage) -> StageFacts:
        rate = learning_rate if stage.learning_rate is None else stage.learning_rate
        return StageFacts(stage.name, stage.share, rate, tuple(of_term(term) for term in stage.objective.terms))

    return tuple(of_stage(stage) for stage in stages.stages)


def mappings_of(stages: Iterable[StageFacts]) -> dict[str, tuple[tuple[int, int], ...]]:
    """By the name of a term, with its stage's where a term has several mappings, the pairs of layers."""
    found: dict[str, dict[tuple[tuple[int, int], ...], str]] = {}
    for stage in stages:
        for term in stage.terms:
            if term.pairs:
                found.setdefault(term.name, {}).setdefault(term.pairs, stage.name)
    return {
        name if len(mappings) == 1 else f"{name}, {stage}": pairs
        for name, mappings in found.items()
        for pairs, stage in mappings.items()
    }


def in_words(value: float | Schedule) -> str:
    """A number, or how it changes.

    Example:
        >>> in_words(Schedule(8, 2, shape="cosine", begin=0.1))
        '8 to 2, cosine, from 10 % to 100 %'
    """
    if not isinstance(value, Schedule):
        return f"{value:g}"
    if value.shape == "step":
        return f"{value.start:g}, from {value.begin:.0%} on {value.end:g}".replace("%", " %")
    when = f", from {value.begin:.0%} to {value.finish:.0%}".replace("%", " %")
    return f"{value.start:g} to {value.end:g}, {value.shape}{'' if (value.begin, value.finish) == (0, 1) else when}"


def layers_in_words(layers: Iterable[int]) -> str:
    """Runs of three and more as a range.

    Example:
        >>> layers_in_words([1, 2, 3, 6, 8])
        '1-3,6,8'
    """
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    return ",".join(parts)


def _settings(term: Term) -> str:
    parts: list[str] = []
    for field in sorted(fields(term), key=lambda item: item.name != "loss"):
        value = getattr(term, field.name)
        if field.name in _SHOWN_ELSEWHERE or (value == field.default and field.name not in _ALWAYS_SHOWN):
            continue
        shown = in_words(value) if isinstance(value, Schedule | float) else value
        shown = ", ".join(map(str, shown)) if isinstance(shown, tuple | list) else shown
        parts.append(str(shown) if field.name == "loss" else f"{field.name} {shown}")
    return ", ".join(parts)


def _touches(term: Term) -> str:
    if not term.looks_at_teacher:
        return "student's logits, labels"
    if not term.looks_inside:
        return "logits of both"
    layers = [_layers(needs) for needs in (term.student_needs, term.teacher_needs)]
    kinds = [words for name, words in _KINDS.items() if getattr(term.teacher_needs, name)]
    own, other = (f"layer{'s' * (len(item) > 1)} {layers_in_words(item)}" for item in layers)
    return f"student {own}, teacher {other}: {', '.join(kinds)}"


def _layers(needs: SignalNeeds) -> frozenset[int]:
    return needs.hidden_states | needs.attention


def projections_in_words(widths: Mapping[str, tuple[int, int]]) -> list[str]:
    """A line for each linear map that is trained beside the student."""
    return [
        f"{name}: {narrow} to {wide} ({narrow * wide + wide:,} weights)" for name, (narrow, wide) in widths.items()
    ]
