"""How long one step takes: ours against a loop written by hand, which does nothing but what it must."""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformers import DefaultDataCollator, PreTrainedModel, Trainer
from transformers.utils import logging

from hf_distill.benchmarks.clock import Duration, StepClock
from hf_distill.benchmarks.options import add_batch_options, add_json_option, add_precision_options, positive, settings
from hf_distill.benchmarks.ratios import Quartiles, ratios
from hf_distill.benchmarks.recipe import Recipe
from hf_distill.benchmarks.result import BenchmarkResult, Cell
from hf_distill.benchmarks.rounds import take_turns
from hf_distill.benchmarks.synthetic import SHAPES, make_models, make_rows
from hf_distill.benchmarks.throughput import step_utilisation
from hf_distill.benchmarks.variants import DESCRIPTIONS, VARIANTS, Ingredients, Training

logger = logging.get_logger(__name__)

Models = tuple[PreTrainedModel, PreTrainedModel]

BASELINE = "floor"

COLUMNS = {
    "model": "model",
    "variant": "variant",
    "cpu_ratio": "CPU time / floor",
    "wall_ratio": "wall time / floor",
    "cpu_seconds": "CPU s a step",
    "wall_seconds": "wall s a step",
    "examples_per_second": "examples/s",
    "tokens_per_second": "tokens/s",
    "flops_utilisation": "model FLOPs utilisation",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``main`` reads."""
    parser.add_argument(
        "--models", nargs="+", choices=SHAPES, default=["minilm", "bert"], help="Teachers; students have half."
    )
    others = [name for name in VARIANTS if name != BASELINE]
    parser.add_argument("--variants", nargs="+", choices=others, default=others, help="To hold against the floor.")
    add_batch_options(parser)
    parser.add_argument("--rounds", type=positive, default=5, help="How often each variant takes its turn.")
    add_precision_options(parser)
    add_json_option(parser)


def main(arguments: argparse.Namespace) -> str:
    """The table as text."""
    names = [BASELINE, *arguments.variants]
    rows: list[dict[str, Cell]] = []
    for shape in arguments.models:
        models = make_models(shape)
        rows += table_rows(shape, models, time_steps(shape, models, names, arguments), arguments)
    return BenchmarkResult("step", COLUMNS, rows, settings(arguments)).to_text(arguments.json)


def time_steps(
    shape: str, models: Models, names: Sequence[str], arguments: argparse.Namespace
) -> dict[str, list[Duration]]:
    """The mean step of each variant in each round; every round goes on with the weights of the one before."""
    clock = StepClock(arguments.warm_up_steps, arguments.steps)
    rows = make_rows(shape, clock.total_steps * arguments.batch_size, arguments.seq_length)
    durations: dict[str, list[Duration]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(
            arguments.batch_size,
            folder,
            max_steps=clock.total_steps,
            bf16=arguments.bf16,
            torch_compile=arguments.torch_compile,
            use_cpu=arguments.use_cpu,
        )
        trainings: dict[str, Training] = {}
        for name in names:
            own = copy.deepcopy(models)
            given = Ingredients(*own, rows, DefaultDataCollator(), recipe, clock, Path(folder, "cache"))
            trainings[name] = in_order(name, given)
        for number, name in enumerate(take_turns(names, arguments.rounds)):
            _start_plain(trainings[name])
            trainings[name].train()
            durations[name].append(clock.per_step())
            logger.info(f"{shape}, round {number // len(names) + 1}, {name}: {durations[name][-1].wall:.3f} s a step")
    return durations


def in_order(name: str, given: Ingredients) -> Training:
    """A variant that takes the rows in their own order, so that all see the same batches."""
    return VARIANTS[name](given) if name == BASELINE else VARIANTS[name](given, train_sampling_strategy="sequential")


def table_rows(
    shape: str, models: Models, durations: dict[str, list[Duration]], arguments: argparse.Namespace
) -> list[dict[str, Cell]]:
    """One line for each variant."""
    batch_size, seq_length = arguments.batch_size, arguments.seq_length
    student, teacher = models
    cpu = {name: [duration.cpu for duration in values] for name, values in durations.items()}
    wall = {name: [duration.wall for duration in values] for name, values in durations.items()}
    rows: list[dict[str, Cell]] = []
    for name in durations:
        seconds = Quartiles.of(wall[name]).median
        utilisation = None
        if not arguments.use_cpu:
            utilisation = step_utilisation(
                student,
                None if name == "cached" else teacher,
                batch_size=batch_size,
                seq_length=seq_length,
                seconds=seconds,
                precision="bf16" if arguments.bf16 else "fp32",
            )
        rows.append(
            {
                "model": shape,
                "variant": DESCRIPTIONS[name],
                "cpu_ratio": ratios(cpu[name], cpu[BASELINE]),
                "wall_ratio": ratios(wall[name], wall[BASELINE]),
                "cpu_seconds": Quartiles.of(cpu[name]).median,
                "wall_seconds": seconds,
                "examples_per_second": batch_size / seconds,
                "tokens_per_second": batch_size * seq_length / seconds,
                "flops_utilisation": utilisation,
            }
        )
    return rows


def _start_plain(training: Training) -> None:
    """Take off the mixed-precision wrapper of the round before, on which Accelerate would put another."""
    if isinstance(training, Trainer):
        training.accelerator.unwrap_model(training.model, keep_fp32_wrapper=False)
