"""From what was written to what a field holds: the field's type hint decides, not the look of the text.

Command line and YAML share this path, so ``1e-3`` is a number where a number is due, and ``no`` is text where text is.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from hf_distill.cli.yaml_file import ConfigLoader

TRUE_WORDS = ("true", "yes", "on", "y", "t", "1")
FALSE_WORDS = ("false", "no", "off", "n", "f", "0")


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows, without None; `Any` counts as text."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(str if member is Any else member for member in members if member is not type(None))


def accepts(hint: Any, kind: type) -> bool:
    """Whether `kind` is among the types that a hint allows: ``accepts(list[int] | None, list)`` is true."""
    return any((get_origin(member) or member) is kind for member in alternatives(hint))


def allowed_values(hint: Any, choices: Sequence[str] | None = None) -> list[str] | None:
    """The words that a field is limited to, by its `choices` or by an enum in its hint; None if it is free."""
    if choices:
        return list(choices)
    for member in alternatives(hint):
        if isinstance(member, type) and issubclass(member, Enum):
            return [str(item.value) for item in member]
    return None


def convert(value: Any, hint: Any, choices: Sequence[str] | None = None) -> Any:
    """Read a value as the type that a field asks for.

    Args:
        value: The text as written, a list of texts, or a mapping.
        hint: The field's resolved type hint.
        choices: The only words allowed, where the field names them.

    Raises:
        ValueError: If the value fits none of the hint's types; the message says what would fit.
    """
    allowed = allowed_values(hint, choices)
    if allowed is not None and not isinstance(value, list):
        return _to_choice(value, allowed)
    for kind, reader in _READERS.items():
        for member in alternatives(hint):
            if (get_origin(member) or member) is kind:
                try:
                    return reader(value, member, hint)
                except ValueError:
                    continue
    for member in alternatives(hint):
        if dataclasses.is_dataclass(member) and isinstance(member, type) and isinstance(value, dict):
            return member(**value)
    raise ValueError(f"it takes {describe(hint)}")


def describe(hint: Any) -> str:
    """What a hint allows, in words: ``a whole number, a list or text``."""
    words = [word for kind, word in _WORDS.items() if accepts(hint, kind)] or ["a mapping"]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _to_choice(value: Any, allowed: list[str]) -> str:
    if isinstance(value, str) and value.lower() in FALSE_WORDS and "no" in allowed:
        return "no"
    if value in allowed:
        return value
    near = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
    raise ValueError(f"it takes one of {', '.join(allowed)}" + (f"; did you mean {near[0]}?" if near else ""))


def _to_bool(value: Any, member: Any, hint: Any) -> bool:
    if isinstance(value, str) and value.lower() in TRUE_WORDS:
        return True
    if isinstance(value, str) and value.lower() in FALSE_WORDS:
        return False
    raise ValueError


def _to_float(value: Any, member: Any, hint: Any) -> float:
    if not isinstance(value, str) or math.isnan(number := float(value)):
        raise ValueError
    return number


def _to_int(value: Any, member: Any, hint: Any) -> int:
    number = _to_float(value, member, hint)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _to_literal(value: Any, member: Any, hint: Any) -> Any:
    for item in get_args(member):
        if isinstance(value, str) and value.lower() == str(item).lower():
            return item
    raise ValueError


def _to_list(value: Any, member: Any, hint: Any) -> list[Any]:
    if isinstance(value, str) and value.startswith("["):
        value = _flow(value)
    elif isinstance(value, str) and not accepts(hint, str):
        value = [value]
    if not isinstance(value, list):
        raise ValueError
    items = get_args(member)[0] if get_args(member) else str
    return [convert(item if isinstance(item, str) else str(item), items) for item in value]


def _to_dict(value: Any, member: Any, hint: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.startswith("{"):
        value = _flow(value)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _to_text(value: Any, member: Any, hint: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _flow(text: str) -> Any:
    try:
        return yaml.load(text, ConfigLoader)
    except yaml.YAMLError as error:
        raise ValueError from error


# Narrow types first: text fits everything, so it comes last.
_READERS: dict[Any, Callable[[Any, Any, Any], Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    Literal: _to_literal,
    list: _to_list,
    dict: _to_dict,
    str: _to_text,
}
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    str: "text",
}
