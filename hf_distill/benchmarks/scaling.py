"""What a second process, or GPU, brings."""

from __future__ import annotations

import argparse
import tempfile

import torch
from transformers.utils import logging

from hf_distill.benchmarks.options import add_batch_options, add_json_option, add_precision_options, positive, settings
from hf_distill.benchmarks.ratios import Quartiles, ratios
from hf_distill.benchmarks.result import BenchmarkResult, Cell
from hf_distill.benchmarks.rounds import take_turns
from hf_distill.benchmarks.synthetic import SHAPES
from hf_distill.benchmarks.variants import DESCRIPTIONS
from hf_distill.benchmarks.worker import BUILD_CACHE, Assignment, Finding, run_processes
from hf_distill.errors import InputError

logger = logging.get_logger(__name__)

THREADS = 1
"""Of each process on the CPU, or one alone would use the cores that a second one is to have."""

COLUMNS = {
    "model": "model",
    "variant": "variant",
    "processes": "processes",
    "efficiency": "efficiency",
    "cpu_ratio": "CPU time an example / one process",
    "examples_per_second": "examples/s",
    "cpu_ms_per_example": "CPU ms an example",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``main`` reads."""
    parser.add_argument("--model", choices=SHAPES, default="minilm", help="The teacher; the student has half of it.")
    parser.add_argument("--variants", nargs="+", choices=["live", "cached"], default=["live", "cached"])
    parser.add_argument(
        "--processes",
        nargs="+",
        type=positive,
        default=sorted({1, torch.cuda.device_count() or 2}),
        help="How many, 1 among them: one for a GPU, or with one thread each on the CPU.",
    )
    add_batch_options(parser)
    parser.add_argument("--rounds", type=positive, default=3, help="How often each takes its turn.")
    add_precision_options(parser)
    add_json_option(parser)


def main(arguments: argparse.Namespace) -> str:
    """The table as text.

    Raises:
        InputError: One process is not asked for, or there are fewer GPUs than processes.
    """
    _check(arguments)
    cases = [(name, processes) for name in arguments.variants for processes in sorted(set(arguments.processes))]
    found: dict[tuple[str, int], list[list[Finding]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        if "cached" in arguments.variants:
            run_processes(_assignment(BUILD_CACHE, arguments, folder))
        for name, processes in take_turns(cases, arguments.rounds):
            found[name, processes].append(run_processes(_assignment(name, arguments, folder), processes, THREADS))
            logger.info(f"{name}, {processes} processes: {_wall(found[name, processes][-1]):.2f} s")
    rows = table_rows(arguments.model, found, arguments.batch_size * arguments.steps)
    return BenchmarkResult("scaling", COLUMNS, rows, {**settings(arguments), "threads": THREADS}).to_text(
        arguments.json
    )


def table_rows(shape: str, found: dict[tuple[str, int], list[list[Finding]]], examples: int) -> list[dict[str, Cell]]:
    """One line for each variant and number of processes.

    Args:
        shape: Of the models.
        found: By variant and number of processes, for each round what each of its processes found.
        examples: Timed examples of one process.
    """
    rates = {case: [case[1] * examples / _wall(findings) for findings in rounds] for case, rounds in found.items()}
    costs = {
        case: [sum(finding.cpu for finding in findings) / (case[1] * examples) for findings in rounds]
        for case, rounds in found.items()
    }
    return [
        {
            "model": shape,
            "variant": DESCRIPTIONS[name],
            "processes": processes,
            "efficiency": ratios([rate / processes for rate in rates[name, processes]], rates[name, 1]),
            "cpu_ratio": ratios(costs[name, processes], costs[name, 1]),
            "examples_per_second": Quartiles.of(rates[name, processes]).median,
            "cpu_ms_per_example": 1e3 * Quartiles.of(costs[name, processes]).median,
        }
        for name, processes in found
    ]


def _wall(findings: list[Finding]) -> float:
    """A step is over when the slowest process has done its part."""
    return max(finding.wall for finding in findings)


def _check(arguments: argparse.Namespace) -> None:
    if 1 not in arguments.processes:
        raise InputError(f"--processes is {arguments.processes}, and efficiency is against one process; add 1.")
    gpus = torch.cuda.device_count()
    if gpus and not arguments.use_cpu and max(arguments.processes) > gpus:
        raise InputError(
            f"--processes asks for {max(arguments.processes)} processes and there are {gpus} GPUs, one for each; ask "
            "for fewer, or measure the CPU with --use_cpu."
        )


def _assignment(name: str, arguments: argparse.Namespace, folder: str) -> Assignment:
    steps = arguments.warm_up_steps + arguments.steps
    return Assignment(
        variant=name,
        shape=arguments.model,
        batch_size=arguments.batch_size,
        seq_length=arguments.seq_length,
        warm_up_steps=arguments.warm_up_steps,
        steps=arguments.steps,
        rows=arguments.batch_size * steps * max(arguments.processes),
        folder=folder,
        bf16=arguments.bf16,
        torch_compile=arguments.torch_compile,
        use_cpu=arguments.use_cpu,
    )
