"""Tiny real models and rows that every test can build in milliseconds."""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, set_seed

from hf_distill import DistillationTrainingArguments

torch.set_num_threads(1)
# Each train() collects garbage, which takes longer than the training here if it looks at all that was imported.
gc.freeze()

VOCABULARY = 60


class PaddingCollator:
    """Pads to the longest row, or to ``length``; stands in for a tokenizer's collator."""

    def __init__(self, length=None):
        self.length = length

    def __call__(self, rows):
        width = self.length or max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "labels": -100, "label": -100}
        batch = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if isinstance(values[0], list) and name in fill and len(values[0]) == len(rows[0]["input_ids"]):
                values = [value + [fill[name]] * (width - len(value)) for value in values]
            batch[name] = torch.tensor(values)
        return batch


@pytest.fixture
def collator():
    return PaddingCollator()


def tiny_bert(num_labels=3, layers=4, seed=0, dropout=0.0, cls=BertForSequenceClassification, **config):
    set_seed(seed)
    defaults = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 37,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": 0.3,
    }
    return cls(BertConfig(**{**defaults, **config}, num_labels=num_labels)).eval()


def random_rows(count, num_labels=3, seed=0, per_token=False, longest=12, with_token_type_ids=False, with_labels=True):
    """Rows of unequal length; for token tasks some rows have hardly any labelled token."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        length = int(torch.randint(4, longest + 1, (), generator=generator))
        row = {
            "input_ids": torch.randint(1, VOCABULARY, (length,), generator=generator).tolist(),
            "attention_mask": [1] * length,
        }
        if with_token_type_ids:
            row["token_type_ids"] = [0] * (length // 2) + [1] * (length - length // 2)
        if with_labels and per_token:
            labels = torch.randint(0, num_labels, (length,), generator=generator)
            labels[torch.rand(length, generator=generator) < 0.5] = -100
            labels[0] = 1
            row["labels"] = labels.tolist()
        elif with_labels:
            row["labels"] = int(torch.randint(0, num_labels, (), generator=generator))
        rows.append(row)
    return Dataset.from_list(rows)


@pytest.fixture
def make_arguments(tmp_path):
    def make(**values):
        defaults = {
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 8,
        }
        return DistillationTrainingArguments(str(tmp_path / "out"), **{**defaults, **values})

    return make


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file, as text or as bytes, and gives its path."""

    def write_file(content):
        path = tmp_path / "run.yaml"
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return str(path)

    return write_file
