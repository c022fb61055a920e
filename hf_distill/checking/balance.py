"""Whether the terms of an objective pull with comparable force."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hf_distill.checking.one_batch import Moment, TermInBatch

DROWNED = 10.0
"""How many times longer another term's gradient is, from which on one is hardly heard."""


def warnings_about_balance(moments: Iterable[Moment], left_out: frozenset[str] = frozenset()) -> list[str]:
    """A line for each term that drowns others, that gives nothing, or that is not a number.

    What was said of a stage's beginning is not said again of its end.

    Args:
        moments: Of one batch.
        left_out: Terms of which nothing can be said yet.
    """
    found: list[str] = []
    said: set[tuple[str, ...]] = set()
    for moment in moments:
        where = "".join(f"{part}, " for part in (moment.stage, moment.when) if part)
        for subject, warning in _warnings(moment, left_out):
            if (moment.stage, *subject) not in said:
                said.add((moment.stage, *subject))
                found.append(where + warning)
    return found


def _warnings(moment: Moment, left_out: frozenset[str]) -> list[tuple[tuple[str, ...], str]]:
    """Each with the names of the terms that it is about."""
    found: list[tuple[tuple[str, ...], str]] = []
    heard = []
    for term in moment.terms:
        if term.weight == 0 or term.name in left_out:
            continue
        if not (math.isfinite(term.value) and math.isfinite(term.gradient)):
            warning = (
                f"{term.name} is {term.value:g} and its gradient {term.gradient:g}: training would stop at once. Look "
                "at the rows and labels, and at the models' weights."
            )
            found.append(((term.name,), warning))
        elif term.gradient == 0:
            warning = (
                f"{term.name} gives the student no gradient: nothing that it compares counts in this batch, or both "
                "models agree already. Leave it out if that holds for all rows."
            )
            found.append(((term.name,), warning))
        else:
            heard.append(term)
    loudest = max(heard, key=lambda term: term.gradient, default=None)
    drowned = [term for term in heard if loudest is not None and loudest.gradient > DROWNED * term.gradient]
    if loudest is not None and drowned:
        found.append(((loudest.name, *(term.name for term in drowned)), _drowning(loudest, drowned)))
    return found


def _drowning(loudest: TermInBatch, drowned: Sequence[TermInBatch]) -> str:
    parts = [
        f"{term.name} ({term.gradient:.3g}; as long at a weight of "
        f"{loudest.weight * term.gradient / loudest.gradient:.3g} for {loudest.name})"
        for term in drowned
    ]
    return (
        f"{loudest.name}, of weight {loudest.weight:g} and with a gradient of norm {loudest.gradient:.3g}, drowns "
        f"{', '.join(parts)}. Lower its weight, or raise theirs."
    )
