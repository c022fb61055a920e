"""The plot of an ablation: how far each variant is from the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from hf_distill.ablation.results import AblationResults


def difference_figure(results: AblationResults) -> Figure:
    """A panel for each task, and one for their mean: points with 95 % intervals, the single seeds behind them."""
    variants = [variant for variant in results.variants if variant != results.reference]
    places: list[str | None] = [*([None] if len(results.tasks) != 1 else []), *results.tasks]
    figure = Figure(figsize=(2.2 + 2.3 * len(places), 1.3 + 0.36 * max(len(variants), 2)), layout="constrained")
    panels = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    for axes, place in zip(panels, places, strict=True):
        _draw(axes, results, variants, place)
        axes.set_title("mean over tasks" if place is None else place, fontsize="medium")
    panels[0].set_yticks(range(len(variants)), variants)
    panels[0].set_ylim(max(len(variants), 1) - 0.5, -0.5)
    figure.supxlabel(f"points above “{results.reference}”, 95 % interval over seeds", fontsize="medium")
    return figure


def _draw(axes: Axes, results: AblationResults, variants: list[str], place: str | None) -> None:
    axes.axvline(0, color="0.4", linewidth=1, zorder=0.5)
    axes.grid(axis="x", color="0.92", zorder=-1)
    axes.tick_params(axis="y", length=0)
    for height, variant in enumerate(variants):
        found = results.difference(variant, place)
        if found is None:
            continue
        values = [100 * value for value in found.values]
        axes.scatter(values, [height] * len(values), s=10, color="0.7", zorder=1)
        width = 100 * found.half_width if found.half_width is not None else None
        axes.errorbar(100 * found.mean, height, xerr=width, fmt="o", color="C0", markersize=5, capsize=3, zorder=2)
