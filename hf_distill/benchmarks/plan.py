"""What a distillation will cost, before it is run: hours, memory and cache on named hardware, on paper."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hf_distill.benchmarks.cost_model import (
    Workload,
    cache_bytes,
    forward_flops,
    training_flops,
    training_hours,
    training_memory,
    waits_for_launches,
)
from hf_distill.benchmarks.hardware import HARDWARE, Cluster
from hf_distill.benchmarks.model_shape import ModelShape
from hf_distill.benchmarks.planned_models import CONFIGS, TASKS, build_model, shorten
from hf_distill.errors import InputError

LADDER = [*(Cluster(name) for name in HARDWARE), Cluster("h100", gpus=8), Cluster("h100", gpus=8, nodes=8)]
"""What is shown when no hardware is named: one device of each kind, a node of 8 and 8 nodes of 8."""

SMALL_STEPS = (
    "`>`: the steps are too small to keep this GPU busy, and launching its kernels takes longer than running them; "
    "raise --batch_size."
)

IGNORED = (
    "Not in these figures: reading and collating rows, evaluation, checkpoints and start-up; writing and reading the "
    "cache; identical rows, which the cache computes once; the exchange of gradients hiding behind the backward pass; "
    "memory held by libraries and by the allocator; and that attention grows with the square of each row's length, "
    "not of the mean. Peaks are the makers'; utilisation is assumed unless given: measure a step to know yours."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``main`` reads."""
    shapes = ", ".join(CONFIGS)
    parser.add_argument("--teacher", required=True, help=f"Folder, Hub id, package:NAME/FOLDER, or one of {shapes}.")
    parser.add_argument("--student", required=True, help="How many of the teacher's layers, or as --teacher.")
    parser.add_argument("--examples", required=True, type=int, help="Rows to train on.")
    parser.add_argument("--tokens", required=True, type=float, help="Mean tokens of a row, without padding.")
    parser.add_argument("--epochs", type=int, default=3, help="Times through the rows.")
    parser.add_argument("--batch_size", type=int, default=32, help="Rows of a step on each device.")
    parser.add_argument(
        "--padding", type=float, default=1.05, help="Tokens with padding over tokens without; near 1 if grouped."
    )
    parser.add_argument("--task", choices=TASKS, default="classification", help="Whose outputs are compared.")
    parser.add_argument("--classes", type=int, default=2, help="Of a classification.")
    parser.add_argument("--hidden_states", action="store_true", help="The cache holds last hidden states too.")
    parser.add_argument("--kept", type=int, help="The cache holds so many top and sampled tokens of a vocabulary.")
    parser.add_argument("--value_bytes", type=int, choices=(2, 4), default=4, help="Of a number in the cache.")
    parser.add_argument("--hardware", choices=HARDWARE, help="Left out: from one CPU core to 8 nodes of 8 GPUs.")
    parser.add_argument("--gpus", type=int, help="Devices of a node, with --hardware; 1 if left out.")
    parser.add_argument("--nodes", type=int, help="Nodes, with --hardware; 1 if left out.")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="Left out: the fastest it has.")
    parser.add_argument("--utilisation", type=float, help="The part of the peak that a measured step used, 0 to 1.")
    parser.add_argument("--json", action="store_true", help="JSON instead of Markdown.")


def main(arguments: argparse.Namespace) -> str:
    """The plan, in Markdown or JSON.

    Raises:
        InputError: A model cannot be found or counted, a figure is out of its range, or a device lacks the precision.
    """
    _check(arguments)
    teacher_model = build_model(arguments.teacher, arguments.task, arguments.classes)
    if arguments.student.isdecimal():
        student_model = shorten(teacher_model, int(arguments.student))
    else:
        student_model = build_model(arguments.student, arguments.task, arguments.classes)
    plan = make_plan(ModelShape.of(student_model), ModelShape.of(teacher_model), arguments)
    return json.dumps(plan, indent=2) if arguments.json else to_markdown(plan)


def make_plan(student: ModelShape, teacher: ModelShape, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, in FLOPs, hours and bytes.

    Args:
        student: Its shape.
        teacher: Its shape.
        arguments: As ``add_arguments`` declares them.
    """
    work = Workload(arguments.examples, arguments.tokens, arguments.epochs, arguments.batch_size, arguments.padding)
    padded = work.tokens * work.padding
    return {
        "settings": vars(arguments),
        "parameters": {"teacher": teacher.parameters, "student": student.parameters},
        "flops_per_example": {
            "teacher_forward": forward_flops(teacher, 1, padded),
            "student_training": training_flops(student, batch=1, sequence=padded),
        },
        "cache_bytes": cache_bytes(
            teacher, work.examples, work.tokens, arguments.value_bytes, arguments.hidden_states, arguments.kept
        ),
        "rows": [_row(student, teacher, work, cluster, arguments) for cluster in _clusters(arguments)],
        "ignored": IGNORED,
    }


def to_markdown(plan: dict[str, Any]) -> str:
    """A line on the models, a table with a row for each hardware, and what is left out of it."""
    parameters, flops = plan["parameters"], plan["flops_per_example"]
    settings = plan["settings"]
    header = (
        "| hardware | precision, utilisation | time with a live teacher | with a cache, first run | second run "
        "| GB on each device, live | cache | fits |"
    )
    return "\n".join(
        [
            f"Teacher {settings['teacher']} ({parameters['teacher'] / 1e6:,.1f}M parameters), student "
            f"{settings['student']} ({parameters['student'] / 1e6:,.1f}M), {settings['examples']:,} examples of "
            f"{settings['tokens']:g} tokens, {settings['epochs']} epochs, batches of {settings['batch_size']} on each "
            f"device, {settings['padding']:g} tokens with padding for each without. FLOPs for an example: teacher's "
            f"forward {flops['teacher_forward']:.3g}, student's forward and backward {flops['student_training']:.3g}. "
            f"The cache takes {_size(plan['cache_bytes'])}.",
            "",
            header,
            "|---|---|---|---|---|---|---|---|",
            *map(_line, plan["rows"]),
            "",
            *([SMALL_STEPS] if any(row["is_lower_bound"] for row in plan["rows"]) else []),
            plan["ignored"],
        ]
    )


def _row(
    student: ModelShape, teacher: ModelShape, work: Workload, cluster: Cluster, arguments: argparse.Namespace
) -> dict[str, Any]:
    precision = arguments.precision or cluster.hardware.best_precision
    used = cluster.utilisation(precision) if arguments.utilisation is None else arguments.utilisation
    padded = work.tokens * work.padding
    live, cached = (training_memory(student, work.batch, padded, precision, shape).total for shape in (teacher, None))
    memory = cluster.hardware.memory_gb
    return {
        "hardware": cluster.name,
        "gpus": cluster.gpus,
        "nodes": cluster.nodes,
        "precision": precision,
        "utilisation": used,
        "is_lower_bound": arguments.utilisation is None and waits_for_launches(student, work, cluster, precision),
        "hours": vars(training_hours(student, teacher, work, cluster, precision, arguments.utilisation)),
        "bytes_on_each_device": {"live": live, "cached": cached},
        "fits": None if memory is None else {"live": live <= 1e9 * memory, "cached": cached <= 1e9 * memory},
    }


def _clusters(arguments: argparse.Namespace) -> list[Cluster]:
    if arguments.hardware is not None:
        return [Cluster(arguments.hardware, arguments.gpus or 1, arguments.nodes or 1)]
    return [cluster for cluster in LADDER if arguments.precision in (None, *cluster.hardware.peak_tflops)]


def _line(row: dict[str, Any]) -> str:
    devices = f"{row['gpus']} x " if row["gpus"] > 1 else ""
    nodes = f"{row['nodes']} nodes of " if row["nodes"] > 1 else ""
    fits = "–" if row["fits"] is None else ", ".join(name for name, does in row["fits"].items() if does) or "no"
    cells = [
        f"{nodes}{devices}{row['hardware']}",
        f"{row['precision']}, {row['utilisation']:.2f}",
        *(("> " if row["is_lower_bound"] else "") + _duration(hours) for hours in row["hours"].values()),
        *(f"{size / 1e9:,.1f}" for size in row["bytes_on_each_device"].values()),
        fits,
    ]
    return f"| {' | '.join(cells)} |"


def _duration(hours: float) -> str:
    for unit, count in (("h", hours), ("min", 60 * hours)):
        if count >= 1:
            return f"{count:,.1f} {unit}"
    return f"{3600 * hours:.2g} s"


def _size(count: float) -> str:
    power = 9 if count >= 1e9 else 6
    return f"{count / 10**power:,.1f} {'GB' if power == 9 else 'MB'}"


def _check(arguments: argparse.Namespace) -> None:
    for name in ("examples", "tokens", "epochs", "batch_size", "classes", "kept", "gpus", "nodes"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} is {value}, which leaves nothing to plan; give a number above 0.")
    if not 1 <= arguments.padding < float("inf"):
        raise InputError(f"--padding is {arguments.padding}, and padding only adds tokens; give 1 or more.")
    if arguments.utilisation is not None and not 0 < arguments.utilisation <= 1:
        raise InputError(f"--utilisation is {arguments.utilisation}, and it is a part of the peak; give 0 to 1.")
    if arguments.kept is not None and arguments.task != "language-modelling":
        raise InputError(f"--kept is for vocabularies, and the task is {arguments.task}; leave it out.")
    if arguments.hardware is None and (arguments.gpus or arguments.nodes):
        raise InputError("--gpus and --nodes were given without a device; name it with --hardware.")
