"""Which columns hold the text, the second text and the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers.utils import logging

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError

logger = logging.get_logger(__name__)

_TEXTS = (
    ("text", "text_pair"),
    ("text", None),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("sentence", None),
)
_LABELS = ("label", "labels")


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read; `text_pair` is None for single texts, `label` for rows without one."""

    text: str
    text_pair: str | None
    label: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read, the label last."""
        return [name for name in (self.text, self.text_pair, self.label) if name is not None]

    def check(self, available: Sequence[str], origin: str) -> None:
        """Raise `InputError`, listing the columns there are, where one of these is missing."""
        for name in self.names:
            if name not in available:
                raise InputError(_missing(f"no column {name!r}", available, origin))


def choose_columns(arguments: DataArguments, available: Sequence[str], origin: str) -> Columns:
    """Take the columns that were asked for, and conventional names for those that were left open.

    Args:
        arguments: ``text_column``, ``text_pair_column`` and ``label_column``.
        available: The columns there are.
        origin: What has them, for messages.

    Raises:
        InputError: If a column that was asked for is missing, or no conventional name fits.
    """
    text, pair = choose_texts(arguments, available, origin)
    label = arguments.label_column
    if label is None:
        label = next((name for name in _LABELS if name in available), None)
        if label is None:
            raise InputError(_missing("no column named label", available, origin, "label_column"))
    columns = Columns(text, pair, label)
    if len(set(columns.names)) < len(columns.names):
        raise InputError(
            f"The columns to read from {origin} are {', '.join(map(repr, columns.names))}, but one column cannot be "
            "two things; name different columns."
        )
    columns.check(available, origin)
    logger.info(f"{origin}: reading the columns {', '.join(columns.names)}.")
    return columns


def choose_texts(
    arguments: DataArguments, available: Sequence[str], origin: str, has_pairs: bool | None = None
) -> tuple[str, str | None]:
    """The columns of the text and of the second text, as asked for or else by conventional names.

    Args:
        arguments: ``text_column`` and ``text_pair_column``.
        available: The columns there are.
        origin: What has them, for messages.
        has_pairs: Whether conventional names are to be those of pairs; None for whatever is there.

    Raises:
        InputError: If only the second one was asked for, or no conventional name fits.
    """
    text, pair = arguments.text_column, arguments.text_pair_column
    if text is not None:
        return text, pair
    if pair is not None:
        raise InputError("text_pair_column is set but text_column is not, and a pair needs both; set text_column.")
    return _conventional_texts(available, origin, has_pairs)


def _conventional_texts(available: Sequence[str], origin: str, has_pairs: bool | None) -> tuple[str, str | None]:
    for text, pair in _TEXTS:
        is_wanted = has_pairs is None or has_pairs == (pair is not None)
        if is_wanted and text in available and (pair is None or pair in available):
            return text, pair
    if has_pairs:
        raise InputError(_missing("no two columns named as pairs of texts are", available, origin, "text_pair_column"))
    raise InputError(_missing("no column named text or sentence", available, origin, "text_column"))


def _missing(found: str, available: Sequence[str], origin: str, option: str | None = None) -> str:
    remedy = f"set {option} to one of them" if option else "name one of them"
    return f"{origin} has {found}; its columns are {', '.join(map(repr, available))}; {remedy}."
