import datasets
import pytest
import torch
from conftest import random_rows
from datasets import Dataset, LargeList, Sequence, Value, concatenate_datasets

from hf_distill.row_lengths import row_lengths

ROWS = random_rows(40)
EXPECTED = [len(row["input_ids"]) for row in ROWS]


class Computed(torch.utils.data.Dataset):
    """Rows that exist only when they are asked for."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, row):
        if row >= len(self.lengths):
            raise RuntimeError("There is no such row.")
        return {"input_ids": torch.zeros(self.lengths[row])}


VIEWS = {
    "as they are": lambda rows: rows,
    "selected": lambda rows: rows.select([7, 3, 3, 39, 0]),
    "a range": lambda rows: rows.select(range(5, 20)),
    "shuffled": lambda rows: rows.shuffle(seed=1),
    "selected twice": lambda rows: rows.shuffle(seed=1).select([4, 9, 1]),
    "a shard": lambda rows: rows.shard(3, 1),
    "joined": lambda rows: concatenate_datasets([rows.select([3, 1]), rows]),
    "tensors": lambda rows: rows.with_format("torch"),
    "large lists": lambda rows: rows.cast_column("input_ids", LargeList(Value("int32"))),
    "computed": lambda rows: Computed([len(row["input_ids"]) for row in rows]),
    "a torch subset": lambda rows: torch.utils.data.Subset(rows, [5, 2]),
    "a list": list,
    "empty": lambda rows: rows.select([]),
    "an empty list": lambda rows: [],
}


@pytest.mark.parametrize("view", VIEWS)
def test_lengths_are_those_of_the_rows(view):
    rows = VIEWS[view](ROWS)
    lengths = row_lengths(rows)
    assert lengths == [len(rows[row]["input_ids"]) for row in range(len(rows))]
    assert all(type(length) is int for length in lengths)


def test_lists_of_fixed_length():
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3]] * 4}).cast_column("input_ids", Sequence(Value("int32"), 3))
    assert row_lengths(rows) == [3, 3, 3, 3]
    assert row_lengths(rows.select([1, 2])) == [3, 3]


def test_a_missing_list_has_no_length():
    assert row_lengths(Dataset.from_dict({"input_ids": [[1, 2], None, []]})) == [2, 0, 0]


def test_another_column():
    assert row_lengths(Dataset.from_dict({"input_values": [[0.5], [0.5, 1.0]]}), "input_values") == [1, 2]
    assert row_lengths(Dataset.from_dict({"text": ["a", "abc"]}), "text") == [1, 3]


def test_a_transform_is_asked():
    texts = Dataset.from_dict({"text": ["a", "b c d", "e f"]})
    tokenized = texts.with_transform(lambda batch: {"input_ids": [text.split() for text in batch["text"]]})
    assert row_lengths(tokenized) == [1, 3, 2]


@pytest.mark.parametrize(
    "rows",
    [
        Dataset.from_dict({"pixel_values": [[0.0], [1.0]]}),
        Dataset.from_dict({"input_ids": [3, 4]}),
        ROWS.to_iterable_dataset(),
        ({"input_ids": [1]} for _ in range(2)),
        torch.utils.data.TensorDataset(torch.ones(3, 4)),
        [torch.ones(3)],
        None,
    ],
    ids=["images", "numbers", "a stream", "a generator", "tuples", "tensors", "none"],
)
def test_none_where_lengths_cannot_be_known(rows):
    assert row_lengths(rows) is None


def test_rows_are_not_read(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("A row was read.")

    monkeypatch.setattr(datasets.Dataset, "_getitem", refuse)
    assert row_lengths(ROWS) == EXPECTED
    assert row_lengths(ROWS.select([2, 1])) == [EXPECTED[2], EXPECTED[1]]
