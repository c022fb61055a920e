"""A convolutional network for texts, as a Transformers model.

This file stands alone: ``save_pretrained`` puts a copy of it beside the weights, so that ``from_pretrained`` with
``trust_remote_code=True`` works where hf_distill is not installed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple


class TextCnnConfig(PreTrainedConfig):
    """The shape of a text CNN.

    Attributes:
        vocab_size: Tokens that it knows.
        embedding_rank: Numbers that are kept for each token.
        hidden_size: Channels of a convolution, the width of the hidden states.
        num_hidden_layers: Convolution layers.
        kernel_size: Positions that a convolution sees; odd.
        dilation_cycle: The distance between these positions, layer by layer, over and over. With the default, six
            layers of kernel size 5 see 57 tokens.
        dropout: On the embeddings, on what each layer adds, and before the classifier.
        initializer_range: Standard deviation of the first weights of embeddings and classifier.
        layer_norm_eps: Added to the variance over the channels.
        pad_token_id: The token that fills up a batch.
    """

    model_type = "hf_distill_text_cnn"

    vocab_size: int = 30522
    embedding_rank: int = 128
    hidden_size: int = 384
    num_hidden_layers: int = 6
    kernel_size: int = 5
    dilation_cycle: list[int] | tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse a kernel that has no middle."""
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, which has no middle; use an odd number.")
        super().__post_init__(**kwargs)


class TextCnnEmbeddings(nn.Module):
    """A narrow vector for each token, and one map that all tokens share to the width of the layers.

    Factorised as in ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942, section 3.1).
    """

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.embedding_rank)
        self.projection = nn.Linear(config.embedding_rank, config.hidden_size, bias=False)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """``(batch, sequence)`` ids, or ``(batch, sequence, embedding_rank)``, to ``(..., hidden_size)``."""
        narrow = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return self.dropout(self.norm(self.projection(narrow)))


class TextCnnLayer(nn.Module):
    """A convolution along the text and one across the channels, added to what came in.

    Separating the two (Chollet 2016, https://arxiv.org/abs/1610.02357) takes ``hidden_size² + kernel_size ·
    hidden_size`` weights in place of ``kernel_size · hidden_size²``.
    """

    def __init__(self, config: TextCnnConfig, dilation: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.along_text = nn.Conv1d(
            width,
            width,
            config.kernel_size,
            padding=dilation * (config.kernel_size // 2),
            dilation=dilation,
            groups=width,
        )
        self.across_channels = nn.Linear(width, width)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_state: Tensor, is_token: Tensor) -> Tensor:
        """``(batch, sequence, hidden_size)`` to the same.

        Args:
            hidden_state: What came in.
            is_token: ``(batch, sequence, 1)``, 0 at padding, which is blanked as the space around the text is.
        """
        blanked = self.norm(hidden_state) * is_token
        mixed = self.along_text(blanked.transpose(1, 2)).transpose(1, 2)
        return hidden_state + self.dropout(self.across_channels(self.activation(mixed)))


class TextCnnForSequenceClassification(PreTrainedModel):
    """Convolution layers over factorised token embeddings, then mean and maximum over the tokens, then a classifier.

    Every convolution sees zeros at padding, and padding takes no part in mean and maximum, so a text's answer does not
    depend on the length to which it is padded. Nothing is normalised over the batch.

    Hidden states are counted as in other models: the embeddings, then the output of each layer, all
    ``(batch, sequence, hidden_size)``. What stands at padding means nothing.
    """

    config_class = TextCnnConfig
    base_model_prefix = "text_cnn"
    main_input_name = "input_ids"
    _no_split_modules = ["TextCnnLayer"]

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__(config)
        self.num_labels = len(config.id2label or {})
        self.embeddings = TextCnnEmbeddings(config)
        dilations = [config.dilation_cycle[i % len(config.dilation_cycle)] for i in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(TextCnnLayer(config, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, self.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The table of the tokens, before the projection."""
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the table of the tokens."""
        self.embeddings.register_module("tokens", value)

    def _init_weights(self, module: nn.Module) -> None:
        """A layer's weights keep the size of what goes through them; 0.02 would let next to nothing through."""
        super()._init_weights(module)
        if isinstance(module, TextCnnLayer):
            init.kaiming_normal_(module.along_text.weight, nonlinearity="linear")
            init.kaiming_normal_(module.across_channels.weight, nonlinearity="relu")

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify texts.

        Args:
            input_ids: ``(batch, sequence)``.
            attention_mask: ``(batch, sequence)``, 0 at padding; without it every position counts.
            token_type_ids: Not looked at; it is here because the tokenizers of many teachers send it.
            inputs_embeds: ``(batch, sequence, embedding_rank)`` in place of ``input_ids``.
            labels: ``(batch,)``, or ``(batch, num_labels)`` where a text can have several.
            output_hidden_states: Also return the hidden states; None asks the configuration.
        """
        hidden_state = self.embeddings(input_ids, inputs_embeds)
        is_token = torch.ones_like(hidden_state[..., :1])
        if attention_mask is not None:
            is_token = attention_mask.unsqueeze(-1).to(hidden_state.dtype)
        hidden_states = [hidden_state]
        for layer in self.layers:
            hidden_states.append(layer(hidden_states[-1], is_token))
        logits = self.classifier(self.dropout(_pool(self.norm(hidden_states[-1]), is_token)))
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return SequenceClassifierOutput(
            loss=None if labels is None else self.loss_function(labels, logits, self.config),
            logits=logits,
            hidden_states=tuple(hidden_states) if wants_states else None,
        )


def _pool(hidden_state: Tensor, is_token: Tensor) -> Tensor:
    """Mean and maximum over the tokens, ``(batch, 2 · hidden_size)``; zeros for a text without any."""
    count = is_token.sum(1).clamp(min=1)
    mean = (hidden_state * is_token).sum(1) / count
    lowest = torch.finfo(hidden_state.dtype).min
    largest = hidden_state.masked_fill(is_token == 0, lowest).amax(1) * (is_token.amax(1) > 0)
    return torch.cat([mean, largest], dim=-1)


TextCnnConfig.register_for_auto_class()
TextCnnForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
