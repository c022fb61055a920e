"""Text classification data sets of the Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetsError
from transformers.utils import logging

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.columns import Columns, choose_columns
from hf_distill.tasks.labels import LabelScheme, class_names, infer_scheme
from hf_distill.tasks.split import Split
from hf_distill.tasks.task import MULTI_LABEL, Task, default_metrics, texts_only, to_dataset
from hf_distill.tasks.unlabelled import check_unlabelled_split, separate_unlabelled

logger = logging.get_logger(__name__)


def load_hub_dataset(arguments: DataArguments, with_unlabelled: bool = False) -> Task:
    """Load any data set that has a column of texts and one of labels.

    The split ``train`` is learnt from. Those whose names start with ``valid`` or ``dev`` are compared on, or else
    ``test``. Class names come from the data set where it has them, and are told from the labels as in a file of one's
    own where it has not.

    Args:
        arguments: ``dataset_name``, ``dataset_config_name``, ``unlabelled_split`` and the columns.
        with_unlabelled: Put training rows without a label aside, instead of refusing them.

    Raises:
        InputError: If the data set cannot be reached, or a split, column or label is missing or cannot be read.
    """
    name, config = str(arguments.dataset_name), arguments.dataset_config_name
    splits = load_hub_splits(name, config, "give your own rows as train_file and validation_file")
    if "train" not in splits:
        raise InputError(
            f"{name} has no split 'train' to learn from, only {', '.join(splits)}; give its files as train_file and "
            "validation_file."
        )
    evaluation_names = _evaluation_names(name, splits)
    columns = choose_columns(arguments, splits["train"].column_names, f"{name}, split train")
    rows = {split: read_hub_split(splits, split, name, columns) for split in ("train", *evaluation_names)}
    unlabelled = []
    if with_unlabelled:
        _forget_negative_classes(splits["train"], columns, rows["train"])
        rows["train"], without = separate_unlabelled(rows["train"])
        unlabelled = [without] if len(without) else []
    scheme = _named_scheme(splits["train"], columns, rows) or infer_scheme(rows["train"])
    if arguments.unlabelled_split is not None:
        check_unlabelled_split(arguments.unlabelled_split, evaluation_names)
        texts = replace(columns, label=None)
        unlabelled.append(read_hub_split(splits, arguments.unlabelled_split, name, texts))
    encoded = {split: to_dataset(read, scheme.encode(read), scheme.problem_type) for split, read in rows.items()}
    metrics = default_metrics(scheme.problem_type)
    local = Path(name).is_dir()
    source: dict[str, Any] = {"files": [Path(name).name]} if local else {"dataset": name, "config": config}
    return Task(
        name=Path(name).name,
        train=encoded.pop("train"),
        evaluation=encoded,
        label_names=scheme.names,
        problem_type=scheme.problem_type,
        metrics=metrics,
        primary_metric=metrics[0],
        source={**source, "splits": [*rows, *filter(None, [arguments.unlabelled_split])]},
        unlabelled=concatenate_datasets([texts_only(split) for split in unlabelled]) if unlabelled else None,
    )


def load_hub_splits(name: str, config: str | None, remedy: str) -> DatasetDict:
    """Load all splits of a data set of the Hub, or of one in a local folder.

    Args:
        name: Its id or folder.
        config: Its configuration, where it has several.
        remedy: What to do when the Hub cannot be reached.

    Raises:
        InputError: If it cannot be loaded; `datasets`' own reason is part of the message.
    """
    try:
        return load_dataset(name, config)
    except ConnectionError as error:
        raise InputError(f"{name} cannot be loaded without a network ({_first_line(error)}); {remedy}.") from error
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be loaded ({_first_line(error)}); check dataset_name and dataset_config_name, or {remedy}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def read_hub_split(splits: DatasetDict, split_name: str, name: str, columns: Columns) -> Split:
    """Take texts and labels, where columns name one, out of one split, leaving out rows without text.

    Raises:
        InputError: If the split or a column is missing, or no row is left.
    """
    origin = f"{name}, split {split_name}"
    if split_name not in splits:
        raise InputError(f"{origin}: there is no such split, only {', '.join(splits)}; check dataset_config_name.")
    columns.check(splits[split_name].column_names, origin)
    rows = splits[split_name].select_columns(columns.names)[:]
    split = Split(origin, has_pairs=columns.text_pair is not None, unit="row")
    pairs = rows[columns.text_pair] if columns.text_pair is not None else [None] * len(rows[columns.text])
    labels = rows[columns.label] if columns.label is not None else [None] * len(pairs)
    dropped = []
    for number, (text, pair, label) in enumerate(zip(rows[columns.text], pairs, labels, strict=True)):
        texts = [text] if columns.text_pair is None else [text, pair]
        if any(value is not None and not isinstance(value, str) for value in texts):
            raise InputError(
                f"{origin}, row {number}: found {texts!r} where text belongs; check text_column and text_pair_column."
            )
        if all(value and value.strip() for value in texts):
            split.add(number, text, pair, label)
        else:
            dropped.append(number)
    split.warn_of_dropped(dropped)
    return split.require_rows()


def _evaluation_names(name: str, splits: DatasetDict) -> list[str]:
    names = [split for split in splits if split.startswith(("valid", "dev"))]
    if not names and "test" in splits:
        logger.warning(f"{name} has no split for validation, so the comparison is made on its split test.")
        names = ["test"]
    if not names:
        raise InputError(
            f"{name} has no split to compare on (validation, dev or test), only {', '.join(splits)}; give its files "
            "as train_file and validation_file."
        )
    return names


def _forget_negative_classes(train: Dataset, columns: Columns, rows: Split) -> None:
    """Data sets with named classes write -1 where a row has none."""
    if isinstance(train.features[columns.label], ClassLabel):
        rows.labels = [None if label == -1 else label for label in rows.labels]


def _named_scheme(train: Dataset, columns: Columns, rows: dict[str, Split]) -> LabelScheme | None:
    """The classes that the data set itself names, if it does; lists of their indices become lists of names."""
    feature = train.features[columns.label]
    if isinstance(feature, ClassLabel):
        return class_names(feature.names)
    element = getattr(feature, "feature", None)
    if not isinstance(element, ClassLabel):
        return None
    for split in rows.values():
        split.labels = [None if label is None else [element.names[index] for index in label] for label in split.labels]
    return LabelScheme(MULTI_LABEL, element.names, {name: position for position, name in enumerate(element.names)})
