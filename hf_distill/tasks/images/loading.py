"""From the arguments to a task on images."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, fields

from datasets import Image

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.hub import load_hub_splits
from hf_distill.tasks.images.image_data_set import load_image_data_set
from hf_distill.tasks.images.image_rows import image_fingerprint
from hf_distill.tasks.images.mnist import load_mnist
from hf_distill.tasks.subset import take_subset
from hf_distill.tasks.task import Task

IMAGE_TASK_NAMES = ("mnist",)
_OF_ALL_IMAGES = ("max_train_samples", "max_eval_samples")
_OTHERWISE = "name a local folder of images as dataset_name, or give texts of your own as train_file"


def load_image_task(arguments: DataArguments) -> Task:
    """Load images to learn from and to compare on.

    They come from a task known by name or from a data set of images, as ``task_name`` or ``dataset_name`` says.
    ``max_train_samples`` and ``max_eval_samples`` take a random part that is the same for every seed.

    Args:
        arguments: Which rows.

    Returns:
        The task, with columns ``image`` and ``label``; its ``source`` tells where the rows came from.

    Raises:
        InputError: If there are no such images, they cannot be read, or an option does not apply to them.

    Example:
        >>> task = load_image_task(DataArguments(task_name="mnist", max_train_samples=500))  # doctest: +SKIP
    """
    task = _load_all_images(arguments)
    train = take_subset(task.train, arguments.max_train_samples)
    evaluation = {name: take_subset(rows, arguments.max_eval_samples) for name, rows in task.evaluation.items()}
    used, available = {"train": train, **evaluation}, {"train": task.train, **task.evaluation}
    source = {
        **task.source,
        "rows": {name: {"used": len(rows), "available": len(available[name])} for name, rows in used.items()},
        "fingerprint": image_fingerprint(used.values()),
    }
    return dataclasses.replace(task, train=train, evaluation=evaluation, source=source)


def holds_images(arguments: DataArguments) -> bool:
    """Whether rows are images: those of a known task, or of a data set whose rows to learn from have a column of them.

    Args:
        arguments: Which rows.

    Raises:
        InputError: If the data set cannot be loaded.
    """
    if arguments.dataset_name is None:
        return str(arguments.task_name).lower() in IMAGE_TASK_NAMES
    rows = load_hub_splits(arguments.dataset_name, arguments.dataset_config_name, _OTHERWISE).get("train")
    return rows is not None and any(isinstance(feature, Image) for feature in rows.features.values())


def _load_all_images(arguments: DataArguments) -> Task:
    if arguments.train_file is not None:
        raise InputError(
            "train_file is set, and images do not come in tables; name a folder of images as dataset_name."
        )
    if arguments.dataset_name is not None:
        _refuse_unused(arguments, "dataset_name", ("dataset_name", "dataset_config_name", "label_column"))
        return load_image_data_set(arguments)
    name = str(arguments.task_name).lower()
    if name not in IMAGE_TASK_NAMES:
        raise InputError(
            f"There is no task {arguments.task_name!r} on images; the tasks are {', '.join(IMAGE_TASK_NAMES)}, and "
            "dataset_name takes a folder of images or a data set of the Hub."
        )
    _refuse_unused(arguments, f"task_name={name}", ("task_name",))
    return load_mnist()


def _refuse_unused(arguments: DataArguments, origin: str, used: tuple[str, ...]) -> None:
    """Refuse options that only texts have; one left as it is by default says nothing."""
    for option in fields(arguments):
        default = option.default if option.default_factory is MISSING else option.default_factory()
        if getattr(arguments, option.name) != default and option.name not in (*used, *_OF_ALL_IMAGES):
            raise InputError(f"{option.name} is set, but images from {origin} do not use it; remove {option.name}.")
