"""A convolutional network for images, as a Transformers model.

This file stands alone: ``save_pretrained`` puts a copy of it beside the weights, so that ``from_pretrained`` with
``trust_remote_code=True`` works where hf_distill is not installed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention
from transformers.utils import can_return_tuple


class ImageCnnConfig(PreTrainedConfig):
    """The shape of an image CNN.

    Attributes:
        num_channels: Of the images.
        image_size: Height and width for which it was made; others work too.
        stem_stride: Pixels from one position of the map to the next, before the first layer.
        hidden_size: Channels of every layer.
        num_hidden_layers: Convolution layers.
        kernel_size: Of a layer, height and width; odd.
        halving_interval: Height and width of the map are halved before every so manieth layer, but the first.
        num_groups: Groups of channels that are normalised together; divides ``hidden_size``.
        dropout: Before the classifier.
        initializer_range: Standard deviation of the classifier's first weights.
    """

    model_type = "hf_distill_image_cnn"

    num_channels: int = 3
    image_size: int | list[int] | tuple[int, int] = 224
    stem_stride: int = 16
    hidden_size: int = 64
    num_hidden_layers: int = 6
    kernel_size: int = 3
    halving_interval: int = 2
    num_groups: int = 4
    dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse a kernel that has no middle, and groups of unequal size."""
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, which has no middle; use an odd number.")
        if self.hidden_size % self.num_groups:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, which num_groups, {self.num_groups}, does not divide; "
                "use a multiple of it."
            )
        super().__post_init__(**kwargs)


class ImageCnnLayer(nn.Module):
    """A convolution, normalised, through a GELU; perhaps at half the height and width."""

    def __init__(self, config: ImageCnnConfig, halves: bool) -> None:
        super().__init__()
        width = config.hidden_size
        # With ceil_mode an odd height keeps its last row, and a map of a single pixel stays one.
        self.halving = nn.AvgPool2d(2, ceil_mode=True) if halves else nn.Identity()
        self.convolution = nn.Conv2d(width, width, config.kernel_size, padding=config.kernel_size // 2)
        self.norm = nn.GroupNorm(config.num_groups, width)
        self.activation = nn.GELU()

    def forward(self, hidden_state: Tensor) -> Tensor:
        """``(batch, hidden_size, height, width)`` to the same, or to half the height and width."""
        return self.activation(self.norm(self.convolution(self.halving(hidden_state))))


class ImageCnnForImageClassification(PreTrainedModel):
    """A convolution that takes the image down to a map, convolution layers, mean and maximum of the map, a classifier.

    Groups of channels are normalised in each image by itself (Wu and He 2018, https://arxiv.org/abs/1803.08494), so
    an image's answer does not depend on the others in its batch.

    Hidden states are counted as in other models, and shaped as in ResNet: the first map, then the output of each
    layer, all ``(batch, hidden_size, height, width)``.
    """

    config_class = ImageCnnConfig
    base_model_prefix = "image_cnn"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    _no_split_modules = ["ImageCnnLayer"]

    def __init__(self, config: ImageCnnConfig) -> None:
        super().__init__(config)
        self.num_labels = len(config.id2label or {})
        size = max(config.kernel_size, 2 * config.stem_stride - 1)
        self.stem = nn.Conv2d(
            config.num_channels, config.hidden_size, size, stride=config.stem_stride, padding=size // 2
        )
        self.norm = nn.GroupNorm(config.num_groups, config.hidden_size)
        self.activation = nn.GELU()
        halves = [place > 0 and place % config.halving_interval == 0 for place in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(ImageCnnLayer(config, half) for half in halves)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, self.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Convolutions keep the size of what goes through them (He et al. 2015, https://arxiv.org/abs/1502.01852)."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """Classify images.

        Args:
            pixel_values: ``(batch, num_channels, height, width)``.
            labels: ``(batch,)``, or ``(batch, num_labels)`` where an image can have several.
            output_hidden_states: Also return the hidden states; None asks the configuration.
        """
        hidden_states = [self.activation(self.norm(self.stem(pixel_values)))]
        for layer in self.layers:
            hidden_states.append(layer(hidden_states[-1]))
        pooled = torch.cat([hidden_states[-1].mean((2, 3)), hidden_states[-1].amax((2, 3))], dim=-1)
        logits = self.classifier(self.dropout(pooled))
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return ImageClassifierOutputWithNoAttention(
            loss=None if labels is None else self.loss_function(labels, logits, self.config),
            logits=logits,
            hidden_states=tuple(hidden_states) if wants_states else None,
        )


ImageCnnConfig.register_for_auto_class()
ImageCnnForImageClassification.register_for_auto_class("AutoModelForImageClassification")
