"""The command line's options and its help, made from the fields of dataclasses."""

import dataclasses
import sys
import textwrap
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from transformers.hf_argparser import DataClassType, HfArgumentParser

from hf_distill.cli.conversion import accepts, allowed_values, alternatives, convert
from hf_distill.cli.unknown_names import suggest
from hf_distill.cli.yaml_file import Setting
from hf_distill.errors import InputError

_METAVARS = {int: "INTEGER", float: "NUMBER", dict: "MAPPING", str: "TEXT"}


class ArgumentsParser(HfArgumentParser):
    """`HfArgumentParser` that tells what was given from what is a default, so that a file can supply the rest.

    It collects text; the types of the fields are applied later, to the file and the command line alike.
    """

    def __init__(
        self, dataclass_types: Sequence[type], description: str | None = None, command: str | None = None
    ) -> None:
        """Add one option for each field, in groups by the class that it belongs to."""
        super().__init__(
            allow_abbrev=False,
            argument_default=SUPPRESS,
            prog=command,
            usage="%(prog)s [FILE.yaml] [--key value ...]",
            description=_introduction(description, command),
            formatter_class=lambda prog: RawDescriptionHelpFormatter(prog, max_help_position=8, width=110),
        )
        self.dataclass_types = [DataClassType(kind) for kind in dataclass_types]
        self.fields: dict[str, dataclasses.Field] = {}
        self.hints: dict[str, Any] = {}
        groups: dict[type, Any] = {}
        hints = {kind: get_type_hints(kind) for kind in dataclass_types}
        grouped = [(_group(kind, field.name), kind, field) for kind in dataclass_types for field in init_fields(kind)]
        # What comes from a library is long, and so it comes last.
        for group, kind, field in sorted(grouped, key=lambda item: item[0] is not item[1]):
            if group not in groups:
                groups[group] = self.add_argument_group(_group_title(group))
            self.fields[field.name], self.hints[field.name] = field, hints[kind][field.name]
            self._add_option(groups[group], field, self.hints[field.name])

    def _add_option(self, group: Any, field: dataclasses.Field, hint: Any) -> None:
        choices = allowed_values(hint, field.metadata.get("choices"))
        options: dict[str, Any] = {"help": _help(field), "metavar": _metavar(hint, choices)}
        if accepts(hint, bool) or "const" in field.metadata:
            options |= {"nargs": "?", "const": "true"}
        elif accepts(hint, list):
            options |= {"nargs": "+"}
        group.add_argument(f"--{field.name}", **options)
        if accepts(hint, bool):
            group.add_argument(
                f"--no_{field.name}", dest=field.name, action="store_const", const="false", help=SUPPRESS
            )

    def parse_settings(self, argv: Sequence[str]) -> dict[str, Setting]:
        """Read ``--key value``, ``--key=value`` and ``--key-with-dashes``; keys that were not given are absent.

        Raises:
            InputError: If a key is unknown or abbreviated, a value is missing, or something belongs to no key.
        """
        namespace, rest = self.parse_known_args([_with_underscores(token) for token in argv])
        for token in rest:
            if token.startswith("-"):
                name = token.lstrip("-").partition("=")[0]
                known = [*self.fields, *(f"no_{field}" for field, hint in self.hints.items() if accepts(hint, bool))]
                raise InputError(f"--{name} is not an argument; {suggest(name, known)}")
        if rest:
            raise InputError(f"{rest[0]!r} belongs to no --key; write --key value, and the YAML file before all keys.")
        return {name: Setting(_text(value), f"--{name}") for name, value in vars(namespace).items()}

    def read(self, name: str, setting: Setting) -> Any:
        """The value of a setting, in the type of its field.

        Raises:
            InputError: If what was written cannot be read as that type.
        """
        metadata = self.fields[name].metadata
        if "const" in metadata and str(setting.value).lower() == "true":
            return metadata["const"]
        try:
            return convert(setting.value, self.hints[name], metadata.get("choices"))
        except (ValueError, TypeError) as error:
            raise InputError(f"{setting.label} is {setting.value!r}, but {error}") from error

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that every wrong input leaves by one door."""
        raise InputError(f"{message.removeprefix('argument ')}; --help explains every argument")


def init_fields(kind: type) -> list[dataclasses.Field]:
    """The fields of a dataclass that its constructor takes."""
    return [field for field in dataclasses.fields(kind) if field.init]


def _group(kind: type, name: str) -> type:
    """The dataclass itself, or the class of another package from which it inherits the field."""
    declared_by = next(base for base in reversed(kind.__mro__) if name in base.__dict__.get("__annotations__", {}))
    return kind if _package(declared_by) == _package(kind) else declared_by


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _group_title(kind: type) -> str:
    title = kind.__dict__.get("_argument_group_name")
    return title or f"everything else that {_package(kind)}.{kind.__name__} takes"


def _introduction(description: str | None, command: str | None) -> str:
    command = command or f"accelerate launch scripts/{Path(sys.argv[0]).name}"
    return textwrap.dedent(f"""\
        {{description}}
        examples:
          {command} FILE.yaml
          {command} FILE.yaml --learning_rate 3e-5 --output_dir outputs/second

        Each key below can stand in FILE.yaml as `key: value` and on the command line as --key value, which wins.
        What is true or false is also written --key or --no_key; null gives back the default.""").format(
        description=f"{description.strip()}\n" if description else ""
    )


def _metavar(hint: Any, choices: list[str] | None) -> str:
    if choices:
        return "{" + ",".join(choices) + "}" if len(choices) <= 6 else "NAME"
    if accepts(hint, bool):
        return "true|false"
    if accepts(hint, list):
        hint = next((get_args(member)[0] for member in alternatives(hint) if get_args(member)), str)
    return "|".join(word for kind, word in _METAVARS.items() if accepts(hint, kind)) or "MAPPING"


def _help(field: dataclasses.Field) -> str:
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    default = default.value if isinstance(default, Enum) else default
    text = str(field.metadata.get("help", "")).strip()
    shown = "" if default in (None, "", dataclasses.MISSING) or default == [] else f" (default: {default})"
    return (text + shown).replace("%", "%%")


def _with_underscores(token: str) -> str:
    name, equals, value = token.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") and name != "--" else token


def _text(value: str | list[str]) -> Any:
    if isinstance(value, list):
        return _text(value[0]) if len(value) == 1 else value
    return None if value == "null" else value
