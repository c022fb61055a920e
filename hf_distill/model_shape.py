"""How deep and how wide a model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_distill.model_wrappers import unwrapped


@dataclass(frozen=True)
class ModelShape:
    """What its configuration says of its layers, the decoder's where it has one; None for what it does not say.

    Attributes:
        layers: How many.
        hidden_size: The width of the hidden states.
        attention_heads: How many each layer has.
        is_causal: No position attends to later ones.
    """

    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    is_causal: bool = False

    @classmethod
    def of(cls, model: Any) -> ModelShape:
        """That of a model, wrapped or not."""
        model = unwrapped(model)
        config: Any = getattr(model, "config", None)
        if not hasattr(config, "get_text_config"):
            return cls(hidden_size=getattr(config, "hidden_size", None))
        is_encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
        inner = config.get_text_config(decoder=is_encoder_decoder)
        of_decoder = getattr(config, "num_decoder_layers", None) if is_encoder_decoder else None
        return cls(
            of_decoder or getattr(inner, "num_hidden_layers", None),
            getattr(inner, "hidden_size", None),
            getattr(inner, "num_attention_heads", None),
            is_encoder_decoder or _attends_to_the_past(model),
        )


def _attends_to_the_past(model: Any) -> bool:
    """Whether any of a decoder's attentions is causal, as their modules say themselves."""
    return any(getattr(module, "is_causal", None) is True for module in model.modules())
