import pytest
import torch

from hf_distill.losses.counted_items import EXAMPLE_MASK, ItemCounts, find_counted_items
from hf_distill.problem_type import ProblemType

TOKENS = torch.ones(3, 5, dtype=torch.long)
ATTENDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
TOKEN_LABELS = torch.tensor([[-100, 2, 0, 1, -100], [0, 1, -100, -100, -100], [-100, -100, -100, -100, -100]])


def find(batch, problem_type=ProblemType.SINGLE_LABEL, shifts_labels=False, is_encoder_decoder=False):
    return find_counted_items(batch, problem_type, shifts_labels, is_encoder_decoder)


def numbers(counted):
    return dict(zip(counted.counts()._fields, (int(count) for count in counted.counts()), strict=True))


def text_batch(**values):
    return {"input_ids": TOKENS, "attention_mask": ATTENDED, **values}


def test_one_label_for_each_example():
    counted = find(text_batch(labels=torch.tensor([0, -100, 2])))
    assert counted.targets.tolist() == [True, False, True]
    assert counted.answers.tolist() == [True, True, True]
    assert numbers(counted) == {"examples": 3, "targets": 2, "answers": 3, "positions": 10, "predictions": 10}


def test_without_labels():
    counted = find(text_batch())
    assert counted.targets is None and counted.answers is None
    assert numbers(counted) == {"examples": 3, "targets": 0, "answers": 0, "positions": 10, "predictions": 10}


def test_labelled_tokens():
    counted = find(text_batch(labels=TOKEN_LABELS))
    assert torch.equal(counted.targets, TOKEN_LABELS != -100)
    assert torch.equal(counted.answers, counted.targets)
    assert numbers(counted)["targets"] == 5


def test_several_labels_of_which_some_are_unknown():
    labels = torch.tensor([[1.0, 0, -100], [0, 0, 0], [-100, -100, -100]])
    counted = find(text_batch(labels=labels), ProblemType.MULTI_LABEL)
    assert torch.equal(counted.targets, labels != -100)
    assert counted.answers.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert (numbers(counted)["targets"], numbers(counted)["answers"]) == (5, 8)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_score_of_minus_100_counts_and_one_of_nan_is_none(shape):
    counted = find(text_batch(labels=torch.tensor([0.5, -100.0, 3.0]).view(shape)), ProblemType.REGRESSION)
    assert numbers(counted)["targets"] == numbers(counted)["answers"] == 3
    counted = find(text_batch(labels=torch.tensor([0.5, torch.nan, 3.0]).view(shape)), ProblemType.REGRESSION)
    assert counted.targets.flatten().tolist() == [True, False, True]
    assert counted.answers.flatten().tolist() == [True] * 3


def test_causal_language_models_predict_the_next_token():
    labels = torch.tensor([[5, 5, 5, 5, 5], [5, 5, 5, -100, -100], [5, 5, -100, -100, -100]])
    counted = find(text_batch(labels=labels), shifts_labels=True)
    assert counted.targets.tolist() == [[True] * 4, [True, True, False, False], [True, False, False, False]]
    assert torch.equal(counted.predictions, counted.targets)
    assert numbers(counted) == {"examples": 3, "targets": 7, "answers": 7, "positions": 10, "predictions": 7}


def test_causal_language_models_with_padding_on_the_left():
    counted = find({"input_ids": TOKENS[:1], "attention_mask": torch.tensor([[0, 0, 1, 1, 1]])}, shifts_labels=True)
    assert counted.predictions.tolist() == [[False, False, True, True]]


def test_encoder_decoders_count_the_decoders_positions():
    batch = text_batch(labels=torch.tensor([[4, 4], [4, -100], [4, 4]]))
    counted = find(batch, is_encoder_decoder=True)
    assert counted.positions.shape == (3, 2)
    assert numbers(counted) == {"examples": 3, "targets": 5, "answers": 5, "positions": 5, "predictions": 5}
    mask = torch.tensor([[1, 1], [1, 1], [1, 0]])
    assert torch.equal(find({**batch, "decoder_attention_mask": mask}, is_encoder_decoder=True).positions, mask.bool())
    unlabelled = text_batch(decoder_input_ids=torch.ones(3, 4, dtype=torch.long))
    assert numbers(find(unlabelled, is_encoder_decoder=True))["positions"] == 12


def test_encoder_decoders_that_classify_read_the_same_text_twice():
    counted = find(text_batch(labels=torch.tensor([0, 1, 1])), is_encoder_decoder=True)
    assert torch.equal(counted.positions, ATTENDED.bool())


def test_images_have_no_positions():
    counted = find({"pixel_values": torch.zeros(2, 3, 8, 8), "labels": torch.tensor([0, 1])})
    assert counted.positions is None
    assert numbers(counted) == {"examples": 2, "targets": 2, "answers": 2, "positions": 0, "predictions": 0}


def test_tokens_without_a_mask_are_all_attended():
    assert numbers(find({"input_ids": TOKENS}))["positions"] == 15


@pytest.mark.parametrize("shifts_labels", [False, True])
def test_repeated_rows_count_nowhere(shifts_labels):
    everything = find(text_batch(labels=TOKEN_LABELS), shifts_labels=shifts_labels)
    batch = text_batch(labels=TOKEN_LABELS, **{EXAMPLE_MASK: torch.tensor([True, False, False])})
    counted = find(batch, shifts_labels=shifts_labels)
    for name in ItemCounts._fields:
        assert not getattr(counted, name)[1:].any()
        assert torch.equal(getattr(counted, name)[0], getattr(everything, name)[0])


def test_a_repeated_row_without_a_label_has_no_answer_either():
    mask = torch.tensor([True, True, False])
    counted = find(text_batch(labels=torch.tensor([0, -100, -100]), **{EXAMPLE_MASK: mask}))
    assert counted.targets.tolist() == [True, False, False]
    assert counted.answers.tolist() == [True, True, False]


def test_the_counts_are_named():
    assert ItemCounts._fields == ("examples", "targets", "answers", "positions", "predictions")
