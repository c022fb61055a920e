"""Queries, keys, values and position biases of a transformers model's self-attention, taken while it runs."""

from hf_distill.attention_recording.recording import check_attention, recording_attention

__all__ = ["check_attention", "recording_attention"]
