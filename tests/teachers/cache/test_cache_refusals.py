"""Rows, folders and disks of which no cache can be made."""

import errno
import os

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from teachers.cache.cached_training import cache_of
from teachers.cache.observed_builds import OutOfMemory, count_rows, logits_of
from transformers import BertForTokenClassification, DataCollatorWithFlattening

from hf_distill.errors import InputError
from hf_distill.teachers.cache import CachedTeacher, building


class MaskingCollator(PaddingCollator):
    """Hides tokens at random, as for masked language modelling."""

    def __call__(self, rows):
        batch = super().__call__(rows)
        hidden = torch.rand(batch["input_ids"].shape) < 0.15
        return {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, 0)}


def test_random_masking_is_refused(tmp_path):
    rows, teacher = random_rows(24), tiny_bert()
    with pytest.raises(InputError, match=r"MaskingCollator.*other input_ids.*dataset.map"):
        cache_of(teacher, rows, tmp_path / "cache", MaskingCollator())
    assert not (tmp_path / "cache").exists()
    # Also where it begins after the cache was made.
    cached = cache_of(teacher, rows, tmp_path / "cache")
    with pytest.raises(InputError, match="MaskingCollator"):
        cached.collator(MaskingCollator())(list(rows))


def test_joined_rows_are_refused(tmp_path):
    rows, joining = random_rows(8), DataCollatorWithFlattening()
    with pytest.raises(InputError, match="joins the rows"):
        cache_of(tiny_bert(), rows, tmp_path / "cache", joining)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match="joins the rows"):
        cache_of(tiny_bert(), rows, tmp_path / "cache").collator(joining)


def test_a_random_transform_is_refused(tmp_path):
    def augment(rows):
        return {**rows, "input_ids": [np.random.default_rng().permutation(row).tolist() for row in rows["input_ids"]]}

    with pytest.raises(InputError, match="random transform"):
        cache_of(tiny_bert(), random_rows(24).with_transform(augment), tmp_path / "cache", PaddingCollator())


def test_masks_that_were_drawn_once_are_no_matter(tmp_path):
    generator = torch.Generator().manual_seed(0)

    def mask(row):
        hidden = torch.rand(len(row["input_ids"]), generator=generator) < 0.3
        return {"input_ids": torch.tensor(row["input_ids"]).masked_fill(hidden, 0).tolist()}

    rows = random_rows(12).map(mask)
    cached = cache_of(tiny_bert(), rows, tmp_path / "cache")
    answers = cached(cached.collator(PaddingCollator())(list(rows)))
    torch.testing.assert_close(answers.logits[4], logits_of(tiny_bert(), rows[4]))


def test_rows_that_cannot_be_looked_through_are_refused(tmp_path):
    with pytest.raises(InputError, match="stream"):
        cache_of(tiny_bert(), random_rows(4).to_iterable_dataset(), tmp_path / "cache", PaddingCollator())
    with pytest.raises(InputError, match="no rows"):
        cache_of(tiny_bert(), random_rows(4).select([]), tmp_path / "cache")
    with pytest.raises(InputError, match="tokenise"):
        cache_of(tiny_bert(), Dataset.from_dict({"text": ["a"]}), tmp_path / "cache")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"thesis\.txt"):
            cache_of(tiny_bert(), random_rows(4), tmp_path, overwrite=overwrite)
    with pytest.raises(InputError, match="is a file"):
        cache_of(tiny_bert(), random_rows(4), tmp_path / "thesis.txt")
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_what_is_put_beside_a_cache_is_no_matter(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / ".nfs01").write_text("x")
    cache_of(tiny_bert(), random_rows(4), folder)
    (folder / "README.md").write_text("x")
    assert cache_of(tiny_bert(), random_rows(4), folder) and CachedTeacher(folder)
    with pytest.raises(InputError, match=r"README\.md"):
        cache_of(tiny_bert(), random_rows(4), folder, overwrite=True)
    next(folder.glob("index-*")).unlink()
    assert cache_of(tiny_bert(), random_rows(4), folder)


@pytest.mark.parametrize("call", ["listdir", "mkdir", "open", "replace"])
def test_a_folder_that_cannot_be_used_is_refused(call, tmp_path, monkeypatch):
    """Root may do anything, so the system's refusal is put in its place."""
    real = getattr(os, call)

    def refuse(path, *args, **options):
        if "cache" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(InputError, match="Permission denied.*name"):
        cache_of(tiny_bert(), random_rows(4), tmp_path / "cache")


def test_others_may_lock_the_folder(tmp_path):
    cache_of(tiny_bert(), random_rows(4), tmp_path / "cache")
    assert (tmp_path / "cache" / "build.lock").stat().st_mode & 0o777 == 0o666


class ReadingCollator(PaddingCollator):
    """Takes columns out of the rows: the labels, and one that no teacher reads."""

    def __call__(self, rows):
        labels = torch.tensor([row.pop("labels") for row in rows])
        weights = torch.tensor([row.pop("weight") for row in rows])
        return {**super().__call__(rows), "labels": labels, "weight": weights}


def test_a_collator_may_take_columns_out_of_the_rows(tmp_path):
    rows = random_rows(8).map(lambda row, index: {"weight": float(index)}, with_indices=True)
    given, collator = list(rows), ReadingCollator()
    cached = cache_of(tiny_bert(), rows, tmp_path / "cache", collator)
    batch = cached.collator(collator)(given)
    assert given == list(rows) and batch["weight"].tolist() == rows["weight"]
    torch.testing.assert_close(cached(batch).logits[3], logits_of(tiny_bert(), random_rows(8)[3]))


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="ReadingCollator.* reads the column 'weight', and the rows have .*labels"):
        cache_of(tiny_bert(), random_rows(8), tmp_path / "cache", ReadingCollator())


def test_a_full_disk_is_refused_before_anything_is_answered(tmp_path, monkeypatch):
    teacher, rows = tiny_bert(cls=BertForTokenClassification), random_rows(24, per_token=True)
    # Keys and offsets, and 3 logits for each token.
    size = 24 * (16 + 8) + sum(len(row) for row in rows["input_ids"]) * 3 * 4
    counted = count_rows(teacher)
    usage = building.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda path: usage._replace(free=size - 1))
    with pytest.raises(InputError, match=rf"24 rows take {size / 1000:.3g} KB.*free"):
        cache_of(teacher, rows, tmp_path / "cache")
    assert counted == [1]
    monkeypatch.setattr(building.shutil, "disk_usage", lambda path: usage._replace(free=size))
    cache_of(teacher, rows, tmp_path / "cache")


def test_answers_that_depend_on_the_batch_are_refused(tmp_path):
    class Padded(OutOfMemory):
        def forward(self, input_ids):
            return torch.zeros(*input_ids.shape, 5, 3)[:, :-1]

    with pytest.raises(InputError, match="for some rows and"):
        cache_of(Padded(tiny_bert(), 9), random_rows(12), tmp_path / "cache", batch_size=4)
