"""An image CNN for the images and the labels of its teacher."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.cnn.modeling_image_cnn import ImageCnnConfig, ImageCnnForImageClassification

_SMALLEST_FIRST_MAP = 14
"""Positions along a side after the stem, those of a ViT with 16 pixels to a patch at 224."""


def create_image_cnn(
    teacher: PreTrainedModel,
    num_layers: int = 6,
    hidden_size: int = 64,
    image_size: int | Sequence[int] | None = None,
    seed: int = 0,
) -> ImageCnnForImageClassification:
    """A convolutional student for the images that the teacher sees and with its labels.

    It takes nothing of the teacher's weights: all is drawn from ``seed``. The student is in eval mode.

    Args:
        teacher: A classifier of images, a ViT or a ResNet or another.
        num_layers: Convolution layers; the map is halved before every second one.
        hidden_size: Their channels, a multiple of 4.
        image_size: Height and width of the images, one number where they are equal. Unset, what the teacher's
            configuration says.
        seed: Draws the weights; the global generator is left as it is.

    Raises:
        InputError: The teacher is none for images, the size of its images is not known, or a number is out of range.

    Example:
        >>> from transformers import ViTConfig, ViTForImageClassification
        >>> config = ViTConfig(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, image_size=28, patch_size=4)
        >>> student = create_image_cnn(ViTForImageClassification(config))
        >>> student.config.num_hidden_layers, student.config.num_channels, student.config.stem_stride
        (6, 3, 2)
    """
    channels = getattr(teacher.config, "num_channels", None)
    if teacher.main_input_name != "pixel_values" or channels is None:
        raise InputError(
            f"{type(teacher).__name__} is no model for images, and an image CNN learns from one; use create_text_cnn "
            "for a teacher for texts"
        )
    size = image_size if image_size is not None else getattr(teacher.config, "image_size", None)
    if size is None:
        raise InputError(
            f"the configuration of {type(teacher).__name__} does not tell the size of its images; give image_size"
        )
    if num_layers < 1 or hidden_size < 1 or hidden_size % ImageCnnConfig.num_groups:
        raise InputError(
            f"num_layers is {num_layers} and hidden_size is {hidden_size}; use 1 layer or more, and a multiple of "
            f"{ImageCnnConfig.num_groups} channels"
        )
    config = ImageCnnConfig(
        num_channels=channels,
        image_size=size if isinstance(size, int) else list(size),
        stem_stride=_stem_stride(size),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        id2label=copy.copy(teacher.config.id2label),
        label2id=copy.copy(teacher.config.label2id),
        problem_type=teacher.config.problem_type,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = ImageCnnForImageClassification(config)
    return student.eval()


def _stem_stride(image_size: int | Sequence[int]) -> int:
    """The largest power of two that leaves a map wide enough: 2 for 28 pixels, 16 for 224."""
    side = image_size if isinstance(image_size, int) else min(image_size)
    stride = 1
    while side // (2 * stride) >= _SMALLEST_FIRST_MAP:
        stride *= 2
    return stride
