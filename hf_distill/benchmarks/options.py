"""What the command line of several benchmarks has in common."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number above 0, as ``argparse`` reads it."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} leaves nothing to measure; use 1 or more")
    return number


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """The size of a step of synthetic rows, and how many of them."""
    parser.add_argument("--batch_size", type=positive, default=16, help="Rows in a step of one process.")
    parser.add_argument("--seq_length", type=positive, default=128, help="Tokens in a row, none of them padding.")
    parser.add_argument("--steps", type=positive, default=8, help="Steps that are timed, each time.")
    parser.add_argument("--warm_up_steps", type=positive, default=2, help="Steps before them, each time.")


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """How to compute."""
    parser.add_argument("--bf16", action="store_true", help="Compute in bfloat16.")
    parser.add_argument("--torch_compile", action="store_true", help="Compile the models with torch.compile.")
    parser.add_argument("--use_cpu", action="store_true", help="Leave accelerators alone.")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """How to print."""
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a Markdown table.")


def settings(arguments: argparse.Namespace, *left_out: str) -> dict[str, object]:
    """What was asked for, for the line below the table; switches that are off, and what is unset, are not there."""
    return {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("json", "benchmark", *left_out) and value is not False and value is not None
    }
