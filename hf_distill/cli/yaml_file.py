"""Reading a YAML file of settings: the line of every key, no key twice, no surprising numbers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hf_distill.errors import InputError


class ConfigLoader(yaml.SafeLoader):
    """Plain values as they are meant: PyYAML alone reads ``1e-3`` as text, ``012`` as 10 and ``12:30`` as 750."""

    yaml_implicit_resolvers: dict = {}


for _tag, _pattern, _first in (
    ("merge", r"<<", ["<"]),
    ("null", r"null|Null|NULL|~|", ["~", "n", "N", ""]),
    ("bool", r"(?i:true|yes|on|false|no|off)", list("tTyYoOfFnN")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+0123456789.")),
):
    ConfigLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


@dataclass(frozen=True)
class Setting:
    """One key as it was given.

    Attributes:
        value: The text as written, a list of texts, a mapping of values, or None for null.
        label: What to call it in a message: ``--temperature``, or ``sst2.yaml, line 3: temperature``.
    """

    value: Any
    label: str


def read_yaml(path: str) -> Iterator[tuple[str, Setting]]:
    """Read the settings of a file, in the file's order.

    Raises:
        InputError: If there is no such file, or it is not a text file, or not one YAML mapping, or a key comes twice.
    """
    text = _read_text(path)
    try:
        loader = ConfigLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{path} is empty, so it sets nothing; write key: value lines into it, or leave it out.")
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{path} holds no settings, but one {_kind(root)}; write key: value lines into it.")
        _refuse_duplicates(root, path)
        for key, node in root.value:
            yield key.value, Setting(_value(node, loader), f"{path}, line {key.start_mark.line + 1}: {key.value}")
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line} is not valid YAML: {error.problem}; correct that line.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not a text file, so no settings can be read; give a YAML file.") from error


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a YAML file, or only --key value arguments.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file, so no settings can be read; give a YAML file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a YAML file.") from None


def _refuse_duplicates(mapping: yaml.MappingNode, path: str) -> None:
    seen: dict[str, int] = {}
    for key, node in mapping.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{path}, line {line}: a {_kind(key)} is no name for a setting; write key: value.")
        if key.value in seen:
            raise InputError(
                f"{path}, line {line}: {key.value} was already set in line {seen[key.value]}, and only one can hold; "
                "keep one of them."
            )
        seen[key.value] = line
        if isinstance(node, yaml.MappingNode):
            _refuse_duplicates(node, path)


def _kind(node: yaml.Node) -> str:
    return (
        "list" if isinstance(node, yaml.SequenceNode) else "mapping" if isinstance(node, yaml.MappingNode) else "text"
    )


def _value(node: yaml.Node, loader: ConfigLoader) -> Any:
    plain = loader.construct_object(node, deep=True)
    if isinstance(node, yaml.ScalarNode):
        return None if plain is None else node.value
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [item.value for item in node.value]
    return plain
