from collections.abc import Callable

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding, PreTrainedTokenizerFast

VOCABULARY_SIZE = 99


@pytest.fixture(scope="session")
def collator() -> DataCollatorWithPadding:
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {f"w{index}": index for index in range(2, VOCABULARY_SIZE)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return DataCollatorWithPadding(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    )


@pytest.fixture
def make_model() -> Callable[..., BertForSequenceClassification]:
    def make(seed: int = 0, layers: int = 2, **options) -> BertForSequenceClassification:
        torch.manual_seed(seed)
        sizes = {"vocab_size": VOCABULARY_SIZE, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37}
        # Heads drawn from a wide distribution: otherwise an untrained model gives every row the same class.
        config = BertConfig(**{**sizes, "num_hidden_layers": layers, "initializer_range": 0.5, **options})
        return BertForSequenceClassification(config)

    return make


@pytest.fixture
def make_rows() -> Callable[..., Dataset]:
    """Tokenized rows of many lengths, with segments that matter and labels."""

    def make(count: int, num_labels: int = 3, seed: int = 0) -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(2, 17, (count,), generator=generator).tolist()
        return Dataset.from_dict(
            {
                "input_ids": [torch.randint(2, VOCABULARY_SIZE, (n,), generator=generator).tolist() for n in lengths],
                "token_type_ids": [[0] * (n // 2) + [1] * (n - n // 2) for n in lengths],
                "attention_mask": [[1] * n for n in lengths],
                "labels": torch.randint(0, num_labels, (count,), generator=generator).tolist(),
            }
        )

    return make
