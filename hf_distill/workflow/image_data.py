"""A task's images as the models see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Array3D, Dataset, Features, Value
from transformers import AutoImageProcessor, BaseImageProcessor, default_data_collator

from hf_distill.errors import InputError
from hf_distill.tasks import Task, compute_metrics
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.models import Source, loading

_CHANNELS = 3
_IMAGES_AT_ONCE = 100


def load_image_processor(source: Source, trust_remote_code: bool) -> BaseImageProcessor:
    """What turns an image into numbers for a checkpoint: its size, and how colours are scaled.

    Raises:
        InputError: There is none, or it cannot be loaded.
    """
    with loading(source.name, "image processor"):
        return AutoImageProcessor.from_pretrained(
            source.path, revision=source.commit or "main", trust_remote_code=trust_remote_code
        )


def prepare_images(task: Task, processor: BaseImageProcessor) -> TaskData:
    """Turn a task's images into ``pixel_values``, once and for all models.

    All images become red, green and blue, as in transformers' pipelines.

    Args:
        task: With columns ``image`` and ``label``.
        processor: The teacher's, which the student shares.
    """
    shape = image_shape(task, processor)
    features = Features({"pixel_values": Array3D(shape, "float32"), "labels": Value("int64")})

    def encode(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
        return {"pixel_values": _pixel_values(processor, rows["image"]), "labels": rows["label"]}

    def encoded(rows: Dataset) -> Dataset:
        return rows.map(
            encode,
            batched=True,
            batch_size=_IMAGES_AT_ONCE,
            remove_columns=rows.column_names,
            features=features,
            load_from_cache_file=False,
            desc="Processing images",
        ).with_format("numpy")

    return TaskData(
        task=task,
        train=encoded(task.train),
        evaluation={split: encoded(rows) for split, rows in task.evaluation.items()},
        max_seq_length=0,
        collator=default_data_collator,
        compute_metrics=compute_metrics(task),
        tokenize=encoded,
    )


def image_shape(task: Task, processor: BaseImageProcessor) -> tuple[int, int, int]:
    """Channels, height and width of an image as the models see it."""
    channels, height, width = np.shape(_pixel_values(processor, [task.train[0]["image"]])[0])
    return channels, height, width


def check_channels(model: Any, whose: str) -> None:
    """Check that a model sees colours.

    Raises:
        InputError: It takes images of another number of channels.
    """
    channels = getattr(model.config, "num_channels", _CHANNELS)
    if channels != _CHANNELS:
        raise InputError(
            f"The {whose} takes images of {channels} channels, and images are read as red, green and blue; name a "
            f"model with num_channels {_CHANNELS}."
        )


def _pixel_values(processor: BaseImageProcessor, images: list[Any]) -> np.ndarray:
    return processor([image.convert("RGB") for image in images], return_tensors="np")["pixel_values"]
