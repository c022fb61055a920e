import pytest
import torch
from conftest import VOCABULARY, random_rows, tiny_bert
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from hf_distill import DistillationTrainer
from hf_distill.padding import padding_collator


def tokenizer_of_numbers(**options):
    vocabulary = {"[PAD]": 0} | {f"w{number}": number for number in range(1, VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[PAD]"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", **options)


ROWS = [{"input_ids": [5] * length, "labels": 1} for length in (3, 11)]


@pytest.mark.parametrize(
    ("device", "longest", "width"),
    [
        ("cpu", {}, 11),
        ("cuda", {}, 16),
        ("cuda", {"model_max_length": 512}, 16),
        ("cuda", {"model_max_length": 13}, 11),
    ],
    ids=["cpu", "cuda, no limit", "cuda, a multiple", "cuda, rounding up would overrun the model"],
)
def test_the_width_of_a_batch(device, longest, width):
    batch = padding_collator(tokenizer_of_numbers(**longest), torch.device(device))(ROWS)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, width)
    assert batch["attention_mask"].sum(1).tolist() == [3, 11]
    assert batch["labels"].tolist() == [1, 1]


def test_the_trainer_pads_by_default(make_arguments):
    trainer = DistillationTrainer(
        model=tiny_bert(layers=1),
        args=make_arguments(soft_target_weight=0),
        train_dataset=random_rows(9),
        processing_class=tokenizer_of_numbers(),
    )
    assert trainer.data_collator.pad_to_multiple_of is None
    trainer.train()
    assert trainer.state.global_step == 6


def test_the_trainer_leaves_a_given_collator_alone(make_arguments, collator):
    trainer = DistillationTrainer(
        model=tiny_bert(layers=1),
        args=make_arguments(soft_target_weight=0),
        processing_class=tokenizer_of_numbers(),
        data_collator=collator,
    )
    assert trainer.data_collator is collator
