"""Models with random weights and rows of random tokens: a step costs the same whatever they say."""

from __future__ import annotations

import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel, set_seed

from hf_distill.students import create_student

SHAPES = {
    "minilm": BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "bert": BertConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
    "tiny": BertConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=37, vocab_size=99
    ),
}
"""By name, the teacher's shape; the student has half its layers."""


def make_models(shape: str, seed: int = 0) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A student and its teacher, random but the same at every call."""
    set_seed(seed)
    teacher = make_teacher(shape)
    return create_student(teacher), teacher


def make_teacher(shape: str) -> PreTrainedModel:
    """Its weights are drawn from the global generator."""
    return BertForSequenceClassification(SHAPES[shape]).eval()


def make_rows(shape: str, count: int, seq_length: int, seed: int = 0) -> Dataset:
    """Rows of ``seq_length`` tokens each, no padding, with one of two labels."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SHAPES[shape].vocab_size, (count, seq_length), generator=generator)
    return Dataset.from_dict(
        {
            "input_ids": tokens.tolist(),
            "attention_mask": torch.ones_like(tokens).tolist(),
            "labels": torch.randint(2, (count,), generator=generator).tolist(),
        }
    )
