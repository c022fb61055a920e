"""The tables of an ablation in Markdown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hf_distill.ablation.statistics import Sample

if TYPE_CHECKING:
    from hf_distill.ablation.results import AblationResults

_UNDEFINED = "–"


def ablation_tables(results: AblationResults) -> str:
    """Scores, differences to the reference, what to keep in mind, and the command."""
    tasks = ", ".join(results.tasks) or "nothing yet"
    sections = [f"# Ablation: {tasks}", _introduction(results), _scores(results)]
    if len(results.variants) > 1:
        title = f"## Differences to “{results.reference}”"
        sections += [title, _about_differences(results), _differences(results)]
    if results.command:
        sections += [f"```bash\n{shlex.join(results.command)}\n```"]
    return "\n\n".join(sections) + "\n"


def _introduction(results: AblationResults) -> str:
    seeds = ", ".join(map(str, results.seeds))
    rows = ", ".join(f"{task} {facts.rows:,} rows of {facts.split}" for task, facts in results.tasks.items())
    text = f"Scores times 100: mean ± standard deviation over the seeds {seeds}. Scored on: {rows}."
    if results.missing:
        text += f" **{results.missing} students are not finished yet.**"
    without = [f"{variant} on {task}" for task, variant, _ in _without_score(results)]
    if without:
        text += f" No score, because training diverged or the metric is not defined: {', '.join(without)}."
    if results.chooses_best:
        text += " Each score is that of its best checkpoint on these same rows, so all are a little too high."
    return f"{text} {_steps(results)}".rstrip()


def _steps(results: AblationResults) -> str:
    """How long the trainings were, and who trained for another time."""
    usual = {task: results.steps(results.reference, task) for task in results.tasks}
    told = [f"{task} {steps}" for task, steps in usual.items() if steps is not None]
    if not told:
        return ""
    text = f"Optimiser steps of every student: {', '.join(told)}"
    others = [
        f"{variant} on {task} {steps}"
        for variant in results.variants
        for task in results.tasks
        if (steps := results.steps(variant, task)) is not None and steps != usual[task]
    ]
    return text + (f"; but {', '.join(others)}." if others else ".")


def _scores(results: AblationResults) -> str:
    places = _places(results)
    header = ["variant", *(_title(results, place) for place in places), "% of the teacher"]
    teacher = ["*teacher*", *(_number(results.teacher(place)) for place in places), "100.0"]
    lines = [teacher]
    for variant in results.variants:
        kept = results.retention(variant, places[-1])
        cells = [_spread(results.score(variant, place)) for place in places]
        lines.append([variant, *cells, _UNDEFINED if kept is None else f"{100 * kept:.1f}"])
    return _table(header, lines)


def _about_differences(results: AblationResults) -> str:
    return (
        f"Points above “{results.reference}”, seed by seed: mean and Student's 95 % interval over "
        f"{len(results.seeds)} seeds. An interval that holds 0 shows no difference. It speaks of other seeds, not of "
        "other rows: the rows scored are the same throughout."
    )


def _differences(results: AblationResults) -> str:
    places = _places(results)
    header = ["variant", *(place or "mean" for place in places)]
    others = [variant for variant in results.variants if variant != results.reference]
    return _table(
        header,
        [[variant, *(_interval(results.difference(variant, place)) for place in places)] for variant in others],
    )


def _places(results: AblationResults) -> list[str | None]:
    """The tasks, and the mean over them where there are several."""
    return [*results.tasks, *([None] if len(results.tasks) != 1 else [])]


def _title(results: AblationResults, place: str | None) -> str:
    return "mean" if place is None else f"{place} ({results.tasks[place].metric.replace('_', ' ')})"


def _table(header: list[str], lines: list[list[str]]) -> str:
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, align, *lines])


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:.2f}"


def _spread(found: Sample | None) -> str:
    if found is None:
        return _UNDEFINED
    return _number(found.mean) + (f" ± {100 * found.sd:.2f}" if found.sd is not None else "")


def _interval(found: Sample | None) -> str:
    if found is None:
        return _UNDEFINED
    text = _signed(found.mean)
    if found.half_width is not None:
        text += f" [{_signed(found.mean - found.half_width)}, {_signed(found.mean + found.half_width)}]"
    return text


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def _without_score(results: AblationResults) -> list[tuple[str, str, int]]:
    return [key for key, outcome in results.outcomes.items() if outcome.score is None]
