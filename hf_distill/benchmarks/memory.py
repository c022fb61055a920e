"""How much memory training takes at most, and whether a cached teacher's weights are missing from it."""

from __future__ import annotations

import argparse
import tempfile

import torch
from transformers.utils import logging

from hf_distill.benchmarks.options import add_batch_options, add_json_option, add_precision_options, settings
from hf_distill.benchmarks.result import BenchmarkResult, Cell
from hf_distill.benchmarks.synthetic import SHAPES, make_teacher
from hf_distill.benchmarks.variants import DESCRIPTIONS, VARIANTS
from hf_distill.benchmarks.worker import BUILD_CACHE, Assignment, run_processes

logger = logging.get_logger(__name__)

BASELINE = "live"

COLUMNS = {
    "model": "model",
    "teacher_mb": "teacher's weights, MB",
    "variant": "variant",
    "peak_ratio": "peak / live",
    "peak_mb": "peak, MB",
    "saved_mb": "less than live, MB",
    "saved_teachers": "less than live, in teacher's weights",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``main`` reads."""
    parser.add_argument("--model", choices=SHAPES, default="bert", help="The teacher; the student has half of it.")
    others = [name for name in VARIANTS if name != BASELINE]
    default = ["cached", "blog"]
    parser.add_argument("--variants", nargs="+", choices=others, default=default, help="What to hold against live.")
    add_batch_options(parser)
    add_precision_options(parser)
    add_json_option(parser)


def main(arguments: argparse.Namespace) -> str:
    """The table as text: each variant trained in a process of its own, since a peak stays with its process."""
    names = [BASELINE, *arguments.variants]
    with tempfile.TemporaryDirectory() as folder:
        peaks = {name: _peak(name, arguments, folder) for name in names}
    rows = table_rows(arguments.model, teacher_megabytes(arguments.model), peaks)
    return BenchmarkResult("memory", COLUMNS, rows, settings(arguments)).to_text(arguments.json)


def teacher_megabytes(shape: str) -> float:
    """Of its weights in fp32, 1e6 bytes."""
    with torch.device("meta"):
        teacher = make_teacher(shape)
    return sum(weight.nbytes for weight in teacher.parameters()) / 1e6


def table_rows(shape: str, teacher_mb: float, peaks: dict[str, float]) -> list[dict[str, Cell]]:
    """One line for each variant; ``peaks`` are in MB."""
    return [
        {
            "model": shape,
            "teacher_mb": teacher_mb,
            "variant": DESCRIPTIONS[name],
            "peak_ratio": peak / peaks[BASELINE],
            "peak_mb": peak,
            "saved_mb": peaks[BASELINE] - peak,
            "saved_teachers": (peaks[BASELINE] - peak) / teacher_mb,
        }
        for name, peak in peaks.items()
    ]


def _peak(name: str, arguments: argparse.Namespace, folder: str) -> float:
    common = {key: getattr(arguments, key) for key in _SHARED}
    rows = arguments.batch_size * (arguments.warm_up_steps + arguments.steps)
    if name == "cached":
        run_processes(Assignment(BUILD_CACHE, arguments.model, rows=rows, folder=folder, **common))
    [found] = run_processes(Assignment(name, arguments.model, rows=rows, folder=folder, **common))
    logger.info(f"{arguments.model}, {name}: {found.peak_mb:,.0f} MB")
    return found.peak_mb


_SHARED = ("batch_size", "seq_length", "warm_up_steps", "steps", "bf16", "torch_compile", "use_cpu")
