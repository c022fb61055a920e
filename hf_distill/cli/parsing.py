"""A YAML file, overridden by ``--key value``, into validated dataclasses."""

import sys
from collections.abc import Sequence
from typing import Any

from hf_distill.cli.parser import ArgumentsParser
from hf_distill.cli.unknown_names import suggest
from hf_distill.cli.yaml_file import read_yaml
from hf_distill.errors import InputError, one_line


def parse_arguments(
    dataclass_types: Sequence[type],
    argv: Sequence[str] | None = None,
    description: str | None = None,
    command: str | None = None,
) -> tuple[Any, ...]:
    """Build one instance of each dataclass from ``[FILE.yaml] [--key value ...]``.

    A key on the command line wins over the file, and null gives back the default. Each dataclass is constructed once,
    in the order given, since constructing `TrainingArguments` sets up devices and processes.

    Args:
        dataclass_types: Dataclasses whose field names do not overlap.
        argv: The arguments; None takes those of the process.
        description: What the script does, for ``--help``; shown as it is.
        command: How it is called, for ``--help``; None for a script of ``scripts/``.

    Returns:
        The instances, in the order of their types.

    Raises:
        InputError: If the file cannot be read, or a key or a value is wrong.

    Example:
        ```python
        model_args, data_args = parse_arguments([ModelArguments, DataArguments], ["sst2.yaml", "--baseline"])
        ```
    """
    parser = ArgumentsParser(dataclass_types, description, command)
    argv = list(sys.argv[1:] if argv is None else argv)
    from_file = dict(read_yaml(argv.pop(0))) if argv and not argv[0].startswith("-") else {}
    for name, setting in from_file.items():
        if name not in parser.fields:
            raise InputError(f"{setting.label} is not an argument; {suggest(name, parser.fields)}")
    values = {}
    for name, setting in (from_file | parser.parse_settings(argv)).items():
        if setting.value is not None:
            values[name] = parser.read(name, setting)
    try:
        return parser.parse_dict(values)
    # Besides ValueError: a configuration file that is not there, an option whose package is not installed, an unknown
    # key in a nested mapping.
    except (ValueError, OSError, ImportError, TypeError) as error:
        raise InputError(one_line(error)) from error
