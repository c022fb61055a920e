import csv

import pytest

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return path


def load(train, validation, **options):
    return load_task(DataArguments(train_file=str(train), validation_file=str(validation), **options))


def test_subsets_are_random_fixed_and_nested(tmp_path):
    train = write_csv(tmp_path / "train.csv", [(f"text {i}", i % 2) for i in range(100)])
    validation = write_csv(tmp_path / "dev.csv", [(f"other {i}", i % 2) for i in range(30)])

    small, again, large = (
        load(train, validation, max_train_samples=count, max_eval_samples=7) for count in (10, 10, 60)
    )
    whole = load(train, validation, max_train_samples=1000)

    assert small.train[:] == again.train[:]
    assert small.source == again.source
    assert set(small.train["text"]) < set(large.train["text"]) < set(whole.train["text"])
    positions = [int(text.split()[1]) for text in small.train["text"]]
    assert positions == sorted(positions)
    assert positions != list(range(10))
    assert small.source["rows"] == {
        "train": {"used": 10, "available": 100},
        "validation": {"used": 7, "available": 30},
    }
    assert whole.source["rows"]["train"] == {"used": 100, "available": 100}
    assert len({task.source["fingerprint"] for task in (small, large, whole)}) == 3


def test_a_subset_of_one_class_is_refused(tmp_path):
    path = write_csv(tmp_path / "rows.csv", [(f"text {i}", i % 2) for i in range(9)])

    with pytest.raises(InputError, match="The 1 training rows of rows all have.*raise max_train_samples"):
        load(path, path, max_train_samples=1)
