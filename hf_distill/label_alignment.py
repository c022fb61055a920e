"""How a model's answers line up with its labels: shifted, through a decoder, or one to one."""

from __future__ import annotations

from typing import Any

from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.models.bart.modeling_bart import shift_tokens_right

from hf_distill.model_wrappers import forward_parameters
from hf_distill.problem_type import classifies_whole_examples


def predicts_next_token(model: Any) -> bool:
    """Whether a model is a causal language model, whose logits at one position answer for the next."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return False
    is_listed = type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    loss_type = getattr(model, "loss_type", None)
    return is_listed or (loss_type is not None and LOSS_MAPPING.get(loss_type) is ForCausalLMLoss)


def with_decoder_inputs(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a sequence-to-sequence model with its decoder's among them.

    Such models make them from the labels, which they are not given here; others' inputs come back as they are.

    Args:
        model: Unwrapped.
        inputs: A batch, with ``labels`` of shape ``(batch, target_length)`` where there are any.
    """
    labels = inputs.get("labels")
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return inputs
    if labels is None or labels.dim() < 2 or classifies_whole_examples(model):
        return inputs
    if "decoder_input_ids" in inputs or "decoder_input_ids" not in forward_parameters(model):
        return inputs
    make = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if make is not None:
        return {**inputs, "decoder_input_ids": make(labels=labels)}
    shifted = shift_tokens_right(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
    return {**inputs, "decoder_input_ids": shifted}
