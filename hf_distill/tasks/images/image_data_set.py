"""Data sets of images: on the Hub, or a folder with one folder of images for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Image
from transformers.utils import logging

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.hub import load_hub_splits
from hf_distill.tasks.images.image_rows import split_off
from hf_distill.tasks.task import SINGLE_LABEL, Task, default_metrics

logger = logging.get_logger(__name__)

_HELD_BACK = 0.1


def load_image_data_set(arguments: DataArguments) -> Task:
    """Load a data set with a column of images and one of named classes.

    A folder is read as ``datasets`` reads it: ``FOLDER/CLASS/IMAGE``, or ``FOLDER/train/CLASS/IMAGE`` beside
    ``FOLDER/validation`` or ``FOLDER/test``. Where no such split is there, a tenth of each class is held back.

    Args:
        arguments: ``dataset_name``, ``dataset_config_name`` and, where several columns hold classes,
            ``label_column``.

    Raises:
        InputError: If it cannot be reached, or has no such split or column.
    """
    name, config = str(arguments.dataset_name), arguments.dataset_config_name
    splits = load_hub_splits(name, config, "name a local folder of images as dataset_name")
    if "train" not in splits:
        raise InputError(
            f"{name} has no split 'train' to learn from, only {', '.join(splits)}; name another data set."
        )
    image, label = _columns(splits["train"], name, arguments.label_column)
    rows = {split: _image_and_label(part, image, label) for split, part in splits.items()}
    label_names = splits["train"].features[label].names
    train, evaluation = _train_and_evaluation(name, DatasetDict(rows))
    metrics = default_metrics(SINGLE_LABEL)
    is_local = Path(name).is_dir()
    source: dict[str, Any] = {"files": [Path(name).name]} if is_local else {"dataset": name, "config": config}
    return Task(
        name=Path(name).name,
        train=train,
        evaluation=evaluation,
        label_names=label_names,
        problem_type=SINGLE_LABEL,
        metrics=metrics,
        primary_metric=metrics[0],
        source=source,
    )


def _columns(rows: Dataset, name: str, label_column: str | None) -> tuple[str, str]:
    images = [column for column, feature in rows.features.items() if isinstance(feature, Image)]
    labels = [column for column, feature in rows.features.items() if isinstance(feature, ClassLabel)]
    if label_column is not None:
        labels = [column for column in labels if column == label_column]
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"{name} has {len(images)} columns of images and {len(labels)} of named classes "
            f"(its columns are {', '.join(rows.column_names)}), and one of each is needed; set label_column, or name "
            "another data set."
        )
    return images[0], labels[0]


def _image_and_label(rows: Dataset, image: str, label: str) -> Dataset:
    rows = rows.select_columns([image, label])
    return rows.rename_columns({old: new for old, new in ((image, "image"), (label, "label")) if old != new})


def _train_and_evaluation(name: str, splits: DatasetDict) -> tuple[Dataset, dict[str, Dataset]]:
    names = [split for split in splits if split.startswith(("valid", "dev"))]
    names = names or [split for split in splits if split == "test"]
    if names:
        return splits["train"], {split: splits[split] for split in names}
    logger.warning(f"{name} has no split to compare on, so {_HELD_BACK:.0%} of its rows are held back for that.")
    train, validation = split_off(splits["train"], _HELD_BACK)
    return train, {"validation": validation}
