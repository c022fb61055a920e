"""Queries, keys, values and position biases of a transformers model's self-attention, taken while it runs."""

from hf_distill.attention_recording.recording import check_attention, recording_attention
from hf_distill.attention_recording.self_attention_layers import number_of_layers

__all__ = ["check_attention", "number_of_layers", "recording_attention"]
