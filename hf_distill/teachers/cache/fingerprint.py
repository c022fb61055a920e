"""What a cache was made from, so that one that was made from something else is never used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_distill.errors import InputError
from hf_distill.model_fingerprint import weights_fingerprint
from hf_distill.model_wrappers import unwrapped
from hf_distill.signal_needs import SignalNeeds
from hf_distill.teachers.cache.key_table import as_comparable
from hf_distill.teachers.cache.sealed_file import WAYS_OUT
from hf_distill.teachers.cache.stored_signals import stored_fields
from hf_distill.teachers.sparse_sampling import SparseSampling
from hf_distill.version import __version__

_VOLATILE = {"architectures", "_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype"}
_LONGEST_VALUE = 40


class CacheMismatch(InputError):
    """A sound cache was made from another teacher, other settings or other rows."""


@dataclass(frozen=True)
class Storage:
    """What is kept of the answers, and how exactly.

    Attributes:
        dtype: Of the stored numbers.
        needs: What is kept beside the answers.
        sampling: Keep a sample of each distribution; None for all logits.
    """

    dtype: torch.dtype
    needs: SignalNeeds
    sampling: SparseSampling | None


def fingerprint(
    teacher: nn.Module,
    compute_dtype: torch.dtype | None,
    storage: Storage,
    processing_class: Any,
    settings: Mapping[str, Any],
    keys: np.ndarray,
    collated: Mapping[str, str],
) -> dict[str, Any]:
    """All that decides what is stored, fit for JSON.

    Args:
        teacher: With its weights as they were loaded.
        compute_dtype: That of its weights while it answers; None if it has none.
        storage: What is kept.
        processing_class: The tokenizer or processor that made the rows; None if unknown.
        settings: Whatever else the caller holds decisive, such as the task.
        keys: ``(examples, 16)`` uint8, those of all different examples.
        collated: What the collator makes of one of them.
    """
    model = unwrapped(teacher)
    config: Any = getattr(model, "config", None)
    sampling = storage.sampling
    made_from = {
        "hf_distill": __version__,
        "teacher": type(model).__name__,
        "weights": weights_fingerprint(teacher),
        "config": _steady(config.to_dict()) if hasattr(config, "to_dict") else None,
        "compute_dtype": str(compute_dtype),
        "storage_dtype": str(storage.dtype),
        "inside": stored_fields(storage.needs),
        "sampling": vars(sampling) if sampling is not None else None,
        "tokenizer": _processing_fingerprint(processing_class),
        "settings": dict(settings),
        "collated": dict(collated),
        "examples": len(keys),
        "examples_sha256": hashlib.sha256(np.sort(as_comparable(keys)).tobytes()).hexdigest(),
    }
    return json.loads(json.dumps(made_from, default=str))


def check_same(found: Mapping[str, Any], expected: Mapping[str, Any], folder: str, is_complete: bool) -> None:
    """Check that a cache was made from what it is now wanted for.

    A complete cache may hold more than is wanted: other rows, which are checked by their keys, and other layers.

    Args:
        found: The fingerprint of the cache.
        expected: The one that it would have if it were made now.
        folder: Where it lies.
        is_complete: All of its rows are there.

    Raises:
        CacheMismatch: They differ; the message names each part with both values.
    """
    left_out = {"examples", "examples_sha256"} if is_complete else set()
    if is_complete and set(found.get("inside", [])) >= set(expected["inside"]):
        left_out.add("inside")
    there = _flat({name: value for name, value in found.items() if name not in left_out})
    here = _flat({name: value for name, value in expected.items() if name not in left_out})
    differing = [name for name in sorted(there | here) if there.get(name) != here.get(name)]
    if differing:
        parts = ", ".join(
            f"{name} {_short(there.get(name))} there and {_short(here.get(name))} here" for name in differing
        )
        raise CacheMismatch(
            f"The teacher's cache in {folder!r} was made from something else, so its answers are not those that are "
            f"wanted: {parts}; {WAYS_OUT}."
        )


def check_rows(missing: int, count: int, folder: str) -> None:
    """Check that no row is missing.

    Raises:
        CacheMismatch: Some are.
    """
    if missing:
        raise CacheMismatch(
            f"The teacher's cache in {folder!r} lacks {missing} of {count} rows: it was made from other rows, or from "
            f"the same ones tokenised or cut otherwise; {WAYS_OUT}."
        )


def _steady(config: Any) -> Any:
    """Without what says where a model came from and not what it computes."""
    if isinstance(config, Mapping):
        return {name: _steady(value) for name, value in config.items() if name not in _VOLATILE}
    return config


def _processing_fingerprint(processing_class: Any) -> str | None:
    """Of the vocabulary and rules; a tokenizer also remembers how it last padded and cut, which the rows show."""
    if processing_class is None:
        return None
    if hasattr(processing_class, "backend_tokenizer"):
        content = json.loads(processing_class.backend_tokenizer.to_str())
        content = {name: value for name, value in content.items() if name not in ("truncation", "padding")}
    elif hasattr(processing_class, "get_vocab"):
        content = processing_class.get_vocab()
    elif hasattr(processing_class, "to_dict"):
        content = processing_class.to_dict()
    else:
        content = None
    text = json.dumps([type(processing_class).__name__, content], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _flat(parts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in parts.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
