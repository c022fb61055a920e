"""Plots that appear whole or not at all."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from hf_distill.atomic_file import unfinished


def save_figure(figure: Figure, path: Path) -> None:
    """Write a plot as PNG beside its place and move it there."""
    figure.savefig(unfinished(path), format="png", dpi=150)
    os.replace(unfinished(path), path)
