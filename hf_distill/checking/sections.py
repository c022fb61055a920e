"""The parts of a check's text, a list of lines each."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

from hf_distill.checking.layer_drawing import draw_layers
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.checking.objective_facts import StageFacts, mappings_of, projections_in_words
from hf_distill.checking.one_batch import BatchFacts, Moment
from hf_distill.checking.reading_facts import LabelFacts, RowFacts
from hf_distill.checking.table import WIDTH, in_bytes, shortened, table
from hf_distill.checking.term_costs import BatchShape

_SHOWN_CLASSES = 12


def models(student: ModelFacts, teacher: ModelFacts | None, longest: int | None) -> list[str]:
    """Teacher and student side by side."""
    if teacher is None:
        teacher = ModelFacts("none", type(student.shape)())
    rows = [["", "teacher", "student", "ratio"], ["class", teacher.name, student.name, ""]]

    def add(name: str, known: list[float | None], exact: bool = True) -> None:
        of_teacher, of_student = known
        if any(value is not None for value in known):
            shown = ["-" if value is None else f"{value:,}" if exact else shortened(value) for value in known]
            ratio = f"{of_student / of_teacher:.3g}" if of_student and of_teacher else ""
            rows.append([name, *shown, ratio])

    pair = (teacher, student)
    heads: list[float | None] = [model.shape.attention_heads for model in pair]
    fewer: list[float | None] = [model.key_value_heads for model in pair]
    add("layers", [model.shape.layers for model in pair])
    add("width", [model.shape.hidden_size for model in pair])
    add("attention heads", heads)
    if fewer != heads:
        add("key and value heads", fewer)
    add("vocabulary", [model.vocabulary for model in pair])
    add("parameters", [model.parameters for model in pair])
    add(f"FLOPs per token, of {longest}", [model.flops_per_token(longest) for model in pair], exact=False)
    return ["Models", *table(rows, right=[3])]


def reading(labels: LabelFacts, rows: RowFacts, tokenizers: str, notes: Sequence[str]) -> list[str]:
    """Labels, tokenizers and rows."""
    lines = [("labels", _labels(labels))]
    if labels.problem_type is not None:
        lines.append(("problem", labels.problem_type))
    if tokenizers:
        lines.append(("tokenizers", tokenizers))
    if rows.train is not None:
        without = f", {rows.unlabelled:,} of them without a label" if rows.unlabelled else ""
        lines.append(("training rows", f"{rows.train:,}{without}"))
    lines += [(f"{name} rows", f"{count:,}") for name, count in rows.evaluation.items()]
    if rows.longest is not None and rows.mean is not None and rows.train:
        share = f"{rows.full / rows.train:.1%}".replace("%", " %")
        lines.append(("longest row", f"{rows.longest} tokens, as are {share} of the rows; {rows.mean:.1f} on average"))
    lines += [("note", note) for note in notes]
    return ["Labels and rows", *_labelled(lines)]


def layers(student: ModelFacts, teacher: ModelFacts | None, stages: Sequence[StageFacts]) -> list[str]:
    """The layer mappings, drawn."""
    mappings = mappings_of(stages)
    made_of = student.made_of
    if teacher is None or teacher.shape.layers is None or max(made_of, default=0) > teacher.shape.layers:
        return []
    if not mappings and not made_of:
        return []
    drawing = draw_layers(teacher.shape.layers, made_of, mappings)
    title = "Layers of the student below the teacher's that they learn from; 0 is the output of the embeddings"
    return [title, *("  " + line if line else "" for line in drawing)]


def objective(
    stages: Sequence[StageFacts], shape: BatchShape | None, projections: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Each term: its weight, what it will touch and what it costs."""
    size = f"; memory for {shape.rows} rows of {shape.tokens} tokens" if shape is not None else ""
    lines = [f"Objective{size}"]
    for number, stage in enumerate(stages, 1):
        if len(stages) > 1:
            name = f" ({stage.name})" if stage.name not in ("", f"stage {number}") else ""
            lines.append(
                f"  stage {number} of {len(stages)}{name}: {100 * stage.share:.3g} % of the steps, learning rate "
                f"{stage.learning_rate:g}"
            )
        columns = [["term", *(term.name for term in stage.terms)], ["weight", *(term.weight for term in stage.terms)]]
        if shape is not None:
            columns.append(["memory", *(in_bytes(term.memory) for term in stage.terms)])
        if any(term.cache is not None for term in stage.terms):
            stored = ("" if term.cache is None else in_bytes(term.cache) for term in stage.terms)
            columns.append(["cached row", *stored])
        right = range(2, len(columns))
        columns.append(["settings", *(term.settings for term in stage.terms)])
        head, *shown = table(list(zip(*columns, strict=True)), right)
        lines.append(head)
        for line, term in zip(shown, stage.terms, strict=True):
            lines += _wrapped(line, " " * 6)
            lines += _wrapped(f"      {term.touches}", " " * 8)
    lines += [f"  projection {line}" for line in projections_in_words(projections)]
    return lines


def cache(bytes_per_row: float | None, rows: int | None) -> list[str]:
    """What a cache of the teacher's answers stores."""
    if bytes_per_row is None or rows is None:
        return []
    return _wrapped(
        f"A cache of the teacher: {in_bytes(bytes_per_row)} a row on average, {in_bytes(bytes_per_row * rows)} for "
        "all training rows, in fp32",
        "  ",
    )


def batch(facts: BatchFacts | None, reason: str, seed: int) -> list[str]:
    """The values of the terms, and their gradients."""
    if facts is None:
        return _wrapped(f"One batch: left out, since {reason}.", "  ")
    lines = [f"One batch of {facts.rows} rows drawn with seed {seed}, dropout on as in training"]
    for moment in facts.moments:
        lines += _moment(moment)
    return lines


def verdict(warnings: Sequence[str]) -> list[str]:
    """Ready, or what may surprise."""
    if not warnings:
        return ["Ready."]
    lines = [f"Ready, with {len(warnings)} warning{'s' * (len(warnings) > 1)}:"]
    for warning in warnings:
        lines += _wrapped(f"  - {warning}", "    ")
    return lines


def _moment(moment: Moment) -> list[str]:
    rows = [["term", "weight", "value", "weight x value", "gradient norm", "cosine with all"]]
    for term in moment.terms:
        cosine = "" if math.isnan(term.cosine) else f"{term.cosine:.2f}"
        numbers = [f"{number:.4g}" for number in (term.weight, term.value, term.weight * term.value, term.gradient)]
        rows.append([term.name, *numbers, cosine])
    rows.append(["all", "", "", f"{moment.value:.4g}", f"{moment.gradient:.4g}", ""])
    where = ", ".join(part for part in (moment.stage, moment.when) if part)
    return [*([f"  {where}"] if where else []), *table(rows, right=range(1, 6))]


def _labels(labels: LabelFacts) -> str:
    if labels.student is None:
        return "none: tokens of the vocabulary"
    names = ", ".join(labels.student[:_SHOWN_CLASSES])
    more = f" and {len(labels.student) - _SHOWN_CLASSES} more" if len(labels.student) > _SHOWN_CLASSES else ""
    if labels.teacher is None:
        return names + more
    if labels.order is None:
        return f"{names}{more}, in the same order in both"
    order = ", ".join(map(str, labels.order[:_SHOWN_CLASSES]))
    return f"{names}{more}; matched by name with the teacher's classes {order}{more}"


def _labelled(lines: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in lines)
    shown = []
    for name, text in lines:
        shown += _wrapped(f"  {name:<{width}}  {text}", " " * (width + 4))
    return shown


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, drop_whitespace=True, break_on_hyphens=False
    )
