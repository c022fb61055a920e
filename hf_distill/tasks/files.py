"""Rows of one's own: CSV, TSV and JSONL files."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.columns import Columns, choose_columns
from hf_distill.tasks.labels import infer_scheme
from hf_distill.tasks.split import Split
from hf_distill.tasks.tables import read_table, read_text
from hf_distill.tasks.task import Task, default_metrics, texts_only, to_dataset
from hf_distill.tasks.unlabelled import separate_unlabelled


def load_files(arguments: DataArguments, with_unlabelled: bool = False) -> Task:
    """Load a task from a file to learn from and a file to compare on.

    Args:
        arguments: ``train_file``, ``validation_file`` and the columns.
        with_unlabelled: Put training rows with an empty label aside, instead of refusing them.

    Raises:
        InputError: If a file is missing, malformed or not text, a column is missing, a text is empty, or a label is
            missing, cannot be read, or is not among the training labels.
    """
    if arguments.validation_file is None:
        raise InputError(
            "validation_file is not set, and teacher and student can only be compared on rows that neither has learnt "
            "from; hold some rows back in a file of their own."
        )
    train_path = Path(str(arguments.train_file)).expanduser()
    validation_path = Path(arguments.validation_file).expanduser()
    columns, train = _read(train_path, arguments)
    _, validation = _read(validation_path, arguments, columns)
    unlabelled = None
    if with_unlabelled:
        train, unlabelled = separate_unlabelled(train)
    scheme = infer_scheme(train)
    rows = [to_dataset(split, scheme.encode(split), scheme.problem_type) for split in (train, validation)]
    metrics = default_metrics(scheme.problem_type)
    return Task(
        name=train_path.name.split(".")[0],
        train=rows[0],
        evaluation={"validation": rows[1]},
        label_names=scheme.names,
        problem_type=scheme.problem_type,
        metrics=metrics,
        primary_metric=metrics[0],
        source={"files": [train_path.name, validation_path.name]},
        unlabelled=texts_only(unlabelled) if unlabelled else None,
    )


def _read(path: Path, arguments: DataArguments, columns: Columns | None = None) -> tuple[Columns, Split]:
    rows = read_table(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path} holds no rows, so there is nothing to learn or compare; add some.")
    if columns is None:
        columns = choose_columns(arguments, list(first[1]), str(path))
    columns.check(list(first[1]), str(path))
    split = Split(str(path), has_pairs=columns.text_pair is not None)
    for number, row in chain([first], rows):
        text = read_text(path, number, row, columns.text)
        pair = None if columns.text_pair is None else read_text(path, number, row, columns.text_pair)
        split.add(number, text, pair, row.get(str(columns.label)))
    return columns, split
