"""From the arguments to a task."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.files import load_files
from hf_distill.tasks.glue import GLUE_TASKS, load_glue, normalise
from hf_distill.tasks.hub import load_hub_dataset
from hf_distill.tasks.rotten_tomatoes import load_rotten_tomatoes
from hf_distill.tasks.subset import fingerprint, take_subset
from hf_distill.tasks.task import Task
from hf_distill.tasks.unlabelled import gather_unlabelled, refuse_unlabelled

TASK_NAMES = (*GLUE_TASKS, "rotten_tomatoes")

_COLUMN_OPTIONS = ("text_column", "text_pair_column", "label_column")
_OPTIONS = ("dataset_config_name", "data_dir", "validation_file", "unlabelled_split", *_COLUMN_OPTIONS)


def load_task(arguments: DataArguments, with_unlabelled: bool = False) -> Task:
    """Load the rows to learn from and to compare on.

    They come from a task known by name, a data set of the Hub, or files, whichever of ``task_name``, ``dataset_name``
    and ``train_file`` is set. ``max_train_samples`` and ``max_eval_samples`` (for each split) take a random part that
    is the same for every seed.

    Args:
        arguments: Which rows, see `hf_distill.arguments.DataArguments`.
        with_unlabelled: There is a teacher to learn rows without a label from; else they are refused.

    Returns:
        The task; its ``source`` tells where the rows came from, how many were used, and their fingerprint.

    Raises:
        InputError: If there are no such rows, they cannot be read, an option does not apply to them, or the training
            rows all have the same label.

    Example:
        >>> task = load_task(DataArguments(task_name="rotten_tomatoes", max_train_samples=1000))
    """
    if not with_unlabelled:
        refuse_unlabelled(arguments)
    task = _load_all_rows(arguments, with_unlabelled)
    glue = GLUE_TASKS.get(task.name) if arguments.task_name is not None else None
    known_columns = () if glue is None else (glue.file_columns, glue.columns)
    all_unlabelled = gather_unlabelled(arguments, task, known_columns)
    unlabelled = None if all_unlabelled is None else take_subset(all_unlabelled, arguments.max_unlabelled_samples)
    train = take_subset(task.train, arguments.max_train_samples)
    evaluation = {name: take_subset(rows, arguments.max_eval_samples) for name, rows in task.evaluation.items()}
    used = {"train": train, **evaluation, "unlabelled": unlabelled}
    available = {"train": task.train, **task.evaluation, "unlabelled": all_unlabelled}
    counts = {
        name: {"used": len(rows), "available": len(available[name] or [])}
        for name, rows in used.items()
        if rows is not None
    }
    source: dict[str, Any] = {
        **task.source,
        "rows": counts,
        "fingerprint": fingerprint([train, *evaluation.values()]),
    }
    if unlabelled is not None:
        source["unlabelled_fingerprint"] = fingerprint([unlabelled])
    task = dataclasses.replace(task, train=train, evaluation=evaluation, source=source, unlabelled=unlabelled)
    _require_different_labels(task, arguments)
    return task


def _load_all_rows(arguments: DataArguments, with_unlabelled: bool) -> Task:
    if arguments.task_name is not None:
        name = known_task(arguments.task_name)
        if name == "rotten_tomatoes":
            _refuse_unused(arguments, f"task_name={name}", used=())
            return load_rotten_tomatoes()
        _refuse_unused(arguments, f"task_name={name}", used=("data_dir", "unlabelled_split"))
        return load_glue(name, arguments.data_dir, arguments.unlabelled_split)
    if arguments.dataset_name is not None:
        _refuse_unused(arguments, "dataset_name", used=("dataset_config_name", "unlabelled_split", *_COLUMN_OPTIONS))
        return load_hub_dataset(arguments, with_unlabelled)
    _refuse_unused(arguments, "train_file", used=("validation_file", *_COLUMN_OPTIONS))
    return load_files(arguments, with_unlabelled)


def known_task(name: str) -> str:
    """Find the task that is meant by a name, however it is spelt: ``"SST-2"`` gives ``"sst2"``.

    Raises:
        InputError: If there is none, with the nearest names.
    """
    by_spelling = {normalise(task): task for task in TASK_NAMES}
    if normalise(name) in by_spelling:
        return by_spelling[normalise(name)]
    near = [by_spelling[spelling] for spelling in difflib.get_close_matches(normalise(name), by_spelling, cutoff=0.5)]
    remedy = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(
        f"There is no task {name!r}; {remedy}The tasks are {', '.join(TASK_NAMES)}; for other data set dataset_name "
        "or train_file."
    )


def _refuse_unused(arguments: DataArguments, origin: str, used: tuple[str, ...]) -> None:
    for option in _OPTIONS:
        if option not in used and getattr(arguments, option) is not None:
            raise InputError(f"{option} is set, but rows from {origin} do not use it; remove {option}.")


def _require_different_labels(task: Task, arguments: DataArguments) -> None:
    labels = task.train["label"]
    first = labels[0]
    if any(label != first for label in labels):
        return
    shown = first if task.label_names is None or isinstance(first, list) else task.label_names[first]
    remedy = "check label_column" if arguments.max_train_samples is None else "raise max_train_samples"
    raise InputError(
        f"The {len(labels)} training rows of {task.name} all have the label {shown!r}, so there is nothing to tell "
        f"apart; {remedy}."
    )
