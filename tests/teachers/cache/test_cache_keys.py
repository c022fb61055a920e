"""Keys are the same for the same numbers, and for nothing else."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import random_rows, tiny_bert
from datasets import Dataset
from tiny_tasks import TASKS, tiny_bart, tiny_t5

from hf_distill.errors import InputError
from hf_distill.teachers.cache.key_table import KeyTable, first_places
from hf_distill.teachers.cache.keys import dataset_keys, row_key, row_keys
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

INPUTS = TeacherInputs(frozenset({"input_ids", "attention_mask", "pixel_values"}), False, False)
ROW = {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]}


def test_a_key_is_a_hash_of_names_shapes_and_values():
    content = b"attention_mask (3,) i " + np.array([1, 1, 1], "<i8").tobytes()
    content += b"input_ids (3,) i " + np.array([5, 6, 7], "<i8").tobytes()
    assert row_key(ROW, INPUTS) == hashlib.blake2b(content, digest_size=16).digest()


def test_lists_arrays_and_tensors_of_the_same_numbers_have_the_same_key():
    key = row_key(ROW, INPUTS)
    assert key == row_key({name: np.array(value, dtype=np.int32) for name, value in ROW.items()}, INPUTS)
    assert key == row_key({name: torch.tensor(value) for name, value in reversed(ROW.items())}, INPUTS)
    assert key == row_key({**ROW, "attention_mask": [True] * 3, "text": "left out", "labels": 1}, INPUTS)
    pixels = np.linspace(0, 1, 12).reshape(3, 4)
    expected = row_key({"pixel_values": pixels.tolist()}, INPUTS)
    for same in (pixels, pixels.astype(np.float32), torch.tensor(pixels), [torch.tensor(row) for row in pixels]):
        assert row_key({"pixel_values": same}, INPUTS) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"input_ids": [5, 6, 8], "attention_mask": [1, 1, 1]},
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 0]},
        {"input_ids": [1, 1, 1], "attention_mask": [5, 6, 7]},
        {"input_ids": [[5, 6, 7]], "attention_mask": [1, 1, 1]},
        {"input_ids": [5, 6, 7]},
        {"input_ids": [5, 6, 7, 0], "attention_mask": [1, 1, 1, 0]},
    ],
)
def test_whatever_differs_gives_another_key(other):
    assert row_key(other, INPUTS) != row_key(ROW, INPUTS)


@pytest.mark.parametrize("value", ["text", None, [[1], [2, 3]], {"a": 1}])
def test_what_is_not_numbers_is_refused(value):
    with pytest.raises(InputError, match="'input_ids' holds"):
        row_key({"input_ids": value}, INPUTS)


@pytest.mark.parametrize("task", TASKS)
def test_the_keys_of_a_data_set_are_those_of_its_rows(task):
    build, make_rows = TASKS[task]
    inputs, rows = TeacherInputs.of(build()), make_rows(count=9)
    expected = [row_key(row, inputs) for row in rows]
    assert len(set(expected)) == 9
    for same in (rows, rows.with_format("torch"), rows.with_format("numpy"), list(rows), rows.with_transform(dict)):
        assert [key.tobytes() for key in dataset_keys(same, inputs)] == expected
    order = [7, 2, 2, 5]
    assert [key.tobytes() for key in dataset_keys(rows.select(order), inputs)] == [expected[row] for row in order]
    assert np.array_equal(row_keys(list(rows), inputs), dataset_keys(rows, inputs))


def test_empty_lists_and_slices_of_arrow_tables():
    rows = Dataset.from_dict({"input_ids": [[1], [], [2, 3]], "pixel_values": [[0.5], [0.5, 1.0], []]})
    expected = [row_key(row, INPUTS) for row in rows]
    assert [key.tobytes() for key in dataset_keys(rows, INPUTS)] == expected
    part = Dataset(rows.data.slice(1, 2))
    assert [key.tobytes() for key in dataset_keys(part, INPUTS)] == expected[1:]


def test_columns_that_a_format_hides_are_no_part_of_the_rows():
    rows = random_rows(3).with_format("torch", columns=["input_ids"])
    assert [key.tobytes() for key in dataset_keys(rows, INPUTS)] == [row_key(row, INPUTS) for row in rows]


def test_what_a_teacher_reads():
    assert "labels" not in TeacherInputs.of(tiny_bert()).names
    assert TeacherInputs.of(tiny_bert()).among(["labels", "input_ids", "idx"]) == ["input_ids"]
    for teacher in (tiny_bart(), tiny_t5()):
        inputs = TeacherInputs.of(teacher)
        assert inputs.among(["labels", "input_ids"]) == ["input_ids", "labels"]
        assert inputs.among(["labels", "decoder_input_ids"]) == ["decoder_input_ids"]
    build, _ = TASKS["classes, BART"]
    assert TeacherInputs.of(build()).among(["labels", "input_ids"]) == ["input_ids"]


def test_keys_are_found_where_they_are():
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 3, (200, 16), dtype=np.uint8)
    # Zeros at the end, and keys that differ in the last byte only.
    keys[:50, 1:] = 0
    keys[50:60] = keys[60]
    keys[50:60, 15] = range(10)
    asked = np.concatenate([keys[::-1], generator.integers(3, 5, (20, 16), dtype=np.uint8)])
    rows = [key.tobytes() for key in keys]
    expected = [rows.index(key.tobytes()) if key.tobytes() in rows else -1 for key in asked]
    assert KeyTable(keys).find(asked).tolist() == expected
    assert KeyTable(keys[:0]).find(asked).tolist() == [-1] * len(asked)
    assert first_places(keys).tolist() == sorted({rows.index(row) for row in rows})
