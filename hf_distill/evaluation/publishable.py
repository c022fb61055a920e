"""What may leave the machine in a report or a model card."""

import math
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])~?(?:/[^\s/'\"=,;:]+)+/?")
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


def publishable(value: Any) -> Any:
    """The value as strict JSON can hold it, without machine paths and tokens.

    An absolute path shrinks to its last part, also inside a longer text such as a command. Entries called ``token`` or
    ``..._token`` are left out and Hub tokens in texts are masked. Numbers that are not finite become ``None``.
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
    if isinstance(value, PurePath) and value.is_absolute():
        return value.name
    return HUB_TOKEN.sub("<token>", ABSOLUTE_PATH.sub(_last_part, str(value)))


def _is_secret(key: str) -> bool:
    return key == "token" or key.endswith("_token")


def _last_part(path: re.Match[str]) -> str:
    return PurePath(path.group()).name
