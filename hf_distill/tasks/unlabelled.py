"""Rows without a label: where they come from, and that nothing of a label comes with them."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

from datasets import Dataset, concatenate_datasets
from transformers.utils import logging

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.columns import Columns, choose_texts
from hf_distill.tasks.labels import is_missing
from hf_distill.tasks.split import Split
from hf_distill.tasks.subset import take_rest
from hf_distill.tasks.tables import read_table, read_text
from hf_distill.tasks.task import Task, texts_only

logger = logging.get_logger(__name__)


def gather_unlabelled(arguments: DataArguments, task: Task, columns: tuple[Columns, ...]) -> Dataset | None:
    """All rows without a label that were asked for: those of the source itself, the rest, and those of a file.

    Args:
        arguments: Which ones.
        task: All rows of its source, before any subset is taken.
        columns: Names that the task's own files give to the texts, tried before conventional ones.

    Returns:
        The columns ``text`` and, for pairs, ``text_pair``; None if none were asked for.

    Raises:
        InputError: If a file or its columns are missing, or there is no rest.
    """
    parts = [] if task.unlabelled is None else [task.unlabelled]
    if arguments.unlabelled_rest:
        rest = take_rest(task.train, arguments.max_train_samples)
        if not len(rest):
            raise InputError(
                f"unlabelled_rest is set, and max_train_samples {arguments.max_train_samples} takes all "
                f"{len(task.train)} training rows, so there is no rest; lower max_train_samples."
            )
        parts.append(rest.remove_columns("label"))
    if arguments.unlabelled_file is not None:
        parts.append(texts_only(_read_file(arguments, "text_pair" in task.train.column_names, columns)))
    if not parts:
        _refuse_without_rows(arguments)
        return None
    return concatenate_datasets(parts)


def separate_unlabelled(split: Split) -> tuple[Split, Split]:
    """The rows of a split that have a label and those that have none, which are counted in a warning.

    Raises:
        InputError: If no row has a label.
    """
    has_label = [not is_missing(label) for label in split.labels]
    labelled, unlabelled = split.part(has_label), split.part([not is_labelled for is_labelled in has_label])
    if not len(labelled):
        raise InputError(
            f"{split.origin}: no row has a label, so it is not known what there is to learn; label some rows, and "
            "give the others as unlabelled_file."
        )
    if len(unlabelled):
        logger.warning(
            f"{split.origin}: {len(unlabelled)} of {len(split)} rows have no label and will be learnt from the "
            f"teacher alone ({unlabelled.shown_numbers()})."
        )
    return labelled, unlabelled


def check_unlabelled_split(name: str, held_out: list[str]) -> None:
    """Refuse a split that is learnt from or compared on already.

    Raises:
        InputError: It is one of these.
    """
    if name == "train":
        raise InputError(
            "unlabelled_split is 'train', whose rows are learnt from with their labels; name another split, or set "
            "unlabelled_rest for what max_train_samples leaves out."
        )
    if name in held_out:
        raise InputError(
            f"unlabelled_split is {name!r}, on which teacher and student are compared, so it must not be learnt "
            "from; name another split."
        )


def refuse_unlabelled(arguments: DataArguments) -> None:
    """Refuse options for rows without a label where there is no teacher to learn them from.

    Raises:
        InputError: One is set.
    """
    for option in arguments.transfer_options:
        raise InputError(
            f"{option} is set, but rows without a label teach only what a teacher says to them, and here labels alone "
            f"are learnt from; remove {option}."
        )


def _read_file(arguments: DataArguments, has_pairs: bool, known: tuple[Columns, ...]) -> Split:
    path = Path(str(arguments.unlabelled_file)).expanduser()
    for option in ("train_file", "validation_file"):
        other = getattr(arguments, option)
        if other is not None and Path(other).expanduser().resolve() == path.resolve():
            raise InputError(
                f"unlabelled_file is {str(path)!r}, the same file as {option}, so it adds nothing new to learn from; "
                "give other rows, or set unlabelled_rest for what max_train_samples leaves out."
            )
    rows = read_table(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path} holds no rows, so there is nothing to learn from it; add some.")
    columns = _text_columns(arguments, has_pairs, known, list(first[1]), str(path))
    split = Split(str(path), has_pairs)
    for number, row in chain([first], rows):
        text = read_text(path, number, row, columns.text)
        pair = None if columns.text_pair is None else read_text(path, number, row, columns.text_pair)
        split.add(number, text, pair, None)
    return split


def _text_columns(
    arguments: DataArguments, has_pairs: bool, known: tuple[Columns, ...], available: list[str], origin: str
) -> Columns:
    for columns in known:
        texts = replace(columns, label=None)
        if all(name in available for name in texts.names):
            return texts
    columns = Columns(*choose_texts(arguments, available, origin, has_pairs))
    columns.check(available, origin)
    if (columns.text_pair is not None) != has_pairs:
        wanted = "pairs of texts, so text_pair_column" if has_pairs else "single texts, so no text_pair_column"
        raise InputError(f"{origin}: the task is on {wanted} belongs to text_column; name the columns of both files.")
    return columns


def _refuse_without_rows(arguments: DataArguments) -> None:
    for option in arguments.transfer_options:
        if arguments.augmentation is None or option == "max_unlabelled_samples":
            raise InputError(
                f"{option} is set, but there are no rows without a label; set unlabelled_file, unlabelled_split or "
                f"unlabelled_rest, or remove {option}."
            )
