"""The command ``hf-distill`` and its sub-commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.errors import InputError
from hf_distill.version import __version__
from hf_distill.workflow.check_alone import check_run


def check_command(argv: Sequence[str]) -> None:
    """Tell what a configuration would do, and try it on one batch; nothing is trained and nothing is written."""
    models, cache, data, args = parse_arguments(
        (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments),
        argv,
        description=check_command.__doc__,
        command="hf-distill check",
    )
    sys.stdout.write(f"{check_run(models, data, args, cache)}\n")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"check": check_command}


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    """Run a sub-command.

    Args:
        argv: The arguments; None takes those of the process.

    Raises:
        SystemExit: With code 2 if something that was asked for cannot work.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
    elif name == "--version":
        sys.stdout.write(f"{__version__}\n")
    elif name not in COMMANDS:
        raise InputError(f"{name!r} is not a command of hf-distill; use {', '.join(COMMANDS)}, or --help.")
    else:
        show_progress()
        COMMANDS[name](rest)


def _help() -> str:
    commands = "\n".join(f"  {name:<8}{(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    return (
        "usage: hf-distill COMMAND [FILE.yaml] [--key value ...]\n\n"
        f"{commands}\n\n"
        "hf-distill COMMAND --help explains every key.\n"
    )
