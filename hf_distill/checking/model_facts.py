"""What there is to know of a model before it teaches or learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from hf_distill.benchmarks.cost_model import forward_flops
from hf_distill.benchmarks.model_shape import ModelShape as CostShape
from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.model_wrappers import unwrapped
from hf_distill.teachers.label_matching import label_names
from hf_distill.teachers.pairing import is_classifier

_COSTS: dict[tuple[type, str], CostShape | None] = {}
"""By class and configuration, since finding one takes a forward without data."""


@dataclass(frozen=True)
class ModelFacts:
    """A model in numbers; None for what is unknown.

    Attributes:
        name: Its class.
        shape: How deep and how wide it is.
        key_value_heads: How many heads each layer has for keys and values.
        head_width: Of each head.
        vocabulary: Rows of its token embeddings.
        parameters: All weights, tied ones once.
        labels: Its classes in the order of its logits; None for one that is no classifier.
        cost: What its FLOPs follow from; None for what is no text encoder or decoder.
        made_of: For each of its layers, the layer of its teacher that it started as, both counted from 1; empty if
            it was not made so.
    """

    name: str
    shape: ModelShape
    key_value_heads: int | None = None
    head_width: int | None = None
    vocabulary: int | None = None
    parameters: int | None = None
    labels: tuple[str, ...] | None = None
    cost: CostShape | None = None
    made_of: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: nn.Module) -> ModelFacts:
        """Of a model, wrapped or not; it is left as it is."""
        inner = unwrapped(model)
        shape = ModelShape.of(inner)
        config: Any = getattr(inner, "config", None)
        if hasattr(config, "get_text_config"):
            config = config.get_text_config(decoder=bool(getattr(config, "is_encoder_decoder", False)))
        return cls(
            name=type(inner).__name__,
            shape=shape,
            key_value_heads=getattr(config, "num_key_value_heads", None) or shape.attention_heads,
            head_width=_head_width(config, shape),
            vocabulary=_vocabulary(inner),
            parameters=sum(weight.numel() for weight in inner.parameters()),
            labels=tuple(label_names(inner)) if is_classifier(inner) else None,
            cost=_cost(inner),
            made_of=_made_of(inner, shape),
        )

    def flops_per_token(self, sequence: int | None) -> float | None:
        """Of a forward over sequences of this many tokens; None where that is unknown."""
        return None if self.cost is None or not sequence else forward_flops(self.cost, 1, sequence) / sequence


def _head_width(config: Any, shape: ModelShape) -> int | None:
    stated = getattr(config, "head_dim", None)
    if stated or shape.hidden_size is None or not shape.attention_heads:
        return stated
    return shape.hidden_size // shape.attention_heads


def _vocabulary(model: Any) -> int | None:
    try:
        embeddings = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return getattr(embeddings, "num_embeddings", None)


def _cost(model: nn.Module) -> CostShape | None:
    if not isinstance(model, PreTrainedModel):
        return None
    key = type(model), model.config.to_json_string(use_diff=False)
    if key not in _COSTS:
        try:
            _COSTS[key] = CostShape.of(model)
        except (InputError, AttributeError):
            # A model of images, or one whose configuration has no layers and heads.
            _COSTS[key] = None
    return _COSTS[key]


def _made_of(model: Any, shape: ModelShape) -> tuple[int, ...]:
    record = getattr(getattr(model, "config", None), "distilled_from_layers", None) or {}
    stacks = [layers for name, layers in record.items() if len(record) == 1 or "decoder" in name]
    if len(stacks) != 1 or len(stacks[0]) != shape.layers:
        return ()
    return tuple(layer + 1 for layer in stacks[0])
