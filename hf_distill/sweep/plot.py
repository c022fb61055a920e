"""The plot of a sweep: the score over one searched value, coloured by another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from hf_distill.sweep.search_space import Range
from hf_distill.sweep.trial import Trial

if TYPE_CHECKING:
    from hf_distill.sweep.results import SweepResults

_NAMES = {"temperature": "temperature", "soft_target_weight": "weight of the soft targets"}


def sweep_figure(results: SweepResults) -> Figure:
    """A point for each trial with a score; the best is ringed, with its standard error as a band.

    The score stands over the temperature, coloured by the weight of the soft targets; where one of them is fixed, the
    next searched value takes its place.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    searched = [name for name, values in results.space.items() if not values.is_fixed]
    scored = [trial for trial in results.trials if trial.score is not None]
    _draw_points(figure, axes, results, scored, searched)
    best = results.best
    if best is not None and best.score is not None:
        axes.scatter(
            [best.values[searched[0]]], [best.score], s=130, facecolors="none", edgecolors="black", label="best"
        )
        error = results.standard_error(best)
        if error is not None:
            band = f"best ± standard error of {results.rows:,} rows"
            axes.axhspan(best.score - error, best.score + error, color="0.92", zorder=0, label=band)
        axes.legend(fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.set_xlabel(_name(searched[0]))
    axes.set_ylabel(f"{results.metric} on {results.split}")
    _scale_across(axes, searched[0], results.space[searched[0]])
    return figure


def _scale_across(axes: Axes, argument: str, values: Range) -> None:
    margin = (values.high / values.low) ** 0.03 if values.log else 0.03 * (values.high - values.low)
    if values.log:
        axes.set_xscale("log")
        axes.set_xlim(values.low / margin, values.high * margin)
    else:
        axes.set_xlim(values.low - margin, values.high + margin)
    if argument == "temperature":
        # A factor of 8 holds a single power of 10, which alone would be labelled.
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())


def _draw_points(figure: Figure, axes: Axes, results: SweepResults, scored: list[Trial], searched: list[str]) -> None:
    across = [trial.values[searched[0]] for trial in scored]
    scores = [trial.score for trial in scored if trial.score is not None]
    if len(searched) == 1:
        axes.scatter(across, scores)
        return
    colour = results.space[searched[1]]
    norm = (LogNorm if colour.log else Normalize)(colour.low, colour.high)
    points = axes.scatter(across, scores, c=[trial.values[searched[1]] for trial in scored], norm=norm, cmap="viridis")
    figure.colorbar(points, label=_name(searched[1]))


def _name(argument: str) -> str:
    return _NAMES.get(argument, argument.replace("_", " "))
