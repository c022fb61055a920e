"""What may leave the machine in a report or a model card."""

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
from huggingface_hub import get_token

PATH_IN_TEXT = re.compile(r"(?<![\w.:/])(?:file://|~)?(?:/[^\s/'\"=,;:]+)+/?")
PATH_ALONE = re.compile(r"(?:/|file:/|~(?:[A-Za-z_][\w.-]*)?/|(?:[^:]*/)?\.\./).*", re.DOTALL)
"""A text that is one path and leads out of the working folder; it may have spaces."""

HUB_TOKEN = re.compile(r"\bhf_(?!distill\b)[\w.-]{16,}")
"""Also OAuth tokens, which have points and dashes; the dotted names of this package's modules look alike."""

TOKEN_OPTION = re.compile(r"--[\w-]*token")


def publishable(value: Any) -> Any:
    """The value as strict JSON can hold it, without machine paths and tokens.

    A text that is one path out of the working folder (absolute, from ``~``, through ``..`` or a ``file://`` address)
    shrinks to its last part, and so do absolute paths without spaces inside a longer text. Entries called ``token``
    or ``..._token`` are left out and Hub tokens in texts are masked. Numbers that are not finite become ``None``.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): publishable(item) for key, item in value.items() if not _is_secret(str(key))}
    if isinstance(value, list | tuple):
        return [publishable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return _publishable_text(str(value))


def publishable_command(argv: Sequence[str], secrets: Iterable[str] = ()) -> str:
    """What was typed, as a shell takes it, without machine paths and tokens.

    Options called ``--token`` or ``--..._token`` are left out with their values. A word, or what follows its ``=``,
    that is a path out of the working folder shrinks to its last part.

    Args:
        argv: The command's words.
        secrets: Further texts to mask wherever they are; the token that the Hub client would use is masked anyway.
    """
    masked = sorted({*secrets, get_token() or ""} - {""}, key=len, reverse=True)
    return shlex.join(_publishable_word(word, masked) for word in _without_token_options(argv))


def shortened_path(text: str) -> str:
    """The last part of a path that leads out of the working folder; any other text as it is."""
    return PurePath(text).name or text if PATH_ALONE.fullmatch(text) else text


def _publishable_text(text: str) -> str:
    return HUB_TOKEN.sub("<token>", PATH_IN_TEXT.sub(_last_part, shortened_path(text)))


def _without_token_options(argv: Sequence[str]) -> list[str]:
    kept = []
    for before, word in zip(["", *argv], argv, strict=False):
        is_value = TOKEN_OPTION.fullmatch(before) and not word.startswith("--")
        if not is_value and not TOKEN_OPTION.fullmatch(word.partition("=")[0]):
            kept.append(word)
    return kept


def _publishable_word(word: str, secrets: list[str]) -> str:
    for secret in secrets:
        word = word.replace(secret, "<token>")
    name, equals, value = shortened_path(word).partition("=")
    return _publishable_text(name) + equals + _publishable_text(value)


def _is_secret(key: str) -> bool:
    return key == "token" or key.endswith("_token")


def _last_part(path: re.Match[str]) -> str:
    return PurePath(path.group()).name
