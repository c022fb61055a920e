"""What is stored, of which rows, and what cannot be."""

import copy

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from datasets import concatenate_datasets
from teachers.cache.cached_training import cache_of, last_hidden_state, pair
from teachers.cache.observed_builds import OutOfMemory, count_rows, logits_of, stored_by_key
from transformers import BertForMaskedLM

from hf_distill.errors import InputError
from hf_distill.teachers.cache import CachedTeacher, CacheMismatch, build_share, building, shards
from hf_distill.teachers.cache.keys import row_key
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs
from hf_distill.teachers.sparse_sampling import SparseSampling


@pytest.mark.parametrize("task", ["classes", "tokens", "score"])
def test_each_row_is_stored_under_its_key(task, tmp_path):
    _, teacher, rows = pair(task)
    cache_of(teacher, rows, tmp_path / "cache", batch_size=5)
    found = stored_by_key(tmp_path / "cache")
    assert len(found) == len(rows)
    for row in rows:
        stored = found[row_key(row, TeacherInputs.of(teacher))]
        torch.testing.assert_close(stored, logits_of(teacher, row), rtol=1e-5, atol=1e-5)


def test_equal_rows_are_answered_once_and_the_longest_first(tmp_path):
    teacher, rows = tiny_bert(), random_rows(10)
    counted, widths = count_rows(teacher), []
    teacher.register_forward_pre_hook(
        lambda module, args, inputs: widths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    same = concatenate_datasets([rows, rows.map(lambda row: {"labels": 2}), rows.select([3, 3, 3])])
    cached = cache_of(teacher, same, tmp_path / "cache", batch_size=4)
    # The shortest row once more, for the size on disk.
    assert counted == [1, 4, 4, 2]
    assert widths[1:] == sorted(widths[1:], reverse=True) and widths[0] == min(map(len, rows["input_ids"]))
    assert cached.count_missing(np.stack([key for key in _keys(teacher, same)])) == 0
    cache_of(teacher, rows, tmp_path / "cache")
    assert len(counted) == 4


def _keys(teacher, rows):
    return [np.frombuffer(row_key(row, TeacherInputs.of(teacher)), np.uint8) for row in rows]


def test_the_teacher_is_left_as_it_was(tmp_path):
    teacher = tiny_bert(dropout=0.5)
    teacher.train()
    teacher.classifier.eval()
    before = {name: (weight.clone(), weight.requires_grad) for name, weight in teacher.named_parameters()}
    cached = cache_of(teacher, random_rows(6), tmp_path / "cache")
    assert teacher.training and teacher.bert.training and not teacher.classifier.training
    for name, weight in teacher.named_parameters():
        assert torch.equal(weight, before[name][0]) and weight.requires_grad == before[name][1] and weight.grad is None
    answers = cached(cached.collator(PaddingCollator())(list(random_rows(6))))
    torch.testing.assert_close(answers.logits[0], logits_of(teacher.eval(), random_rows(6)[0]))
    assert not answers.logits.requires_grad and not answers.logits.is_inference()


def test_weights_that_are_cast_come_back_bit_by_bit(monkeypatch, tmp_path):
    """As on a GPU with bf16."""
    teacher = tiny_bert()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    dtypes = []
    teacher.register_forward_pre_hook(lambda *args: dtypes.append(teacher.classifier.weight.dtype))
    monkeypatch.setattr(building.AnsweringTeacher, "is_cast", True)
    cached = cache_of(teacher, random_rows(6), tmp_path / "cache")
    assert set(dtypes) == {torch.bfloat16}
    assert cached._cache.made_from["compute_dtype"] == "torch.bfloat16"
    for name, value in teacher.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])
    answers = cached(cached.collator(PaddingCollator())(list(random_rows(6))))
    expected = copy.deepcopy(teacher).bfloat16()
    for logits, row in zip(answers.logits, random_rows(6), strict=True):
        torch.testing.assert_close(logits, logits_of(expected, row).float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_storage_in_half_the_space_has_the_stated_error(dtype, error, tmp_path):
    student, teacher, rows = pair("tokens")
    needs = last_hidden_state(teacher)
    exact = cache_of(teacher, rows, tmp_path / "exact", needs=needs)
    half = cache_of(teacher, rows, tmp_path / "half", needs=needs, storage_dtype=dtype)
    batch = list(rows)
    for cached in (half, exact):
        cached.pair_with(student, needs)
    answers, expected = (cached(cached.collator(PaddingCollator())(batch), needs) for cached in (half, exact))
    (layer,) = expected.hidden_states
    pairs = [(answers.logits, expected.logits), (answers.hidden_states[layer], expected.hidden_states[layer])]
    for values, exact_values in pairs:
        assert values.dtype == torch.float32
        difference = (values - exact_values).abs()
        assert (difference <= error * exact_values.abs() + 2**-25).all()
        assert difference.max() > 0

    def size(folder):
        return sum(path.stat().st_size for path in (tmp_path / folder).glob("shard-*"))

    assert size("half") < 0.6 * size("exact")


def test_numbers_too_large_for_fp16_are_refused(tmp_path):
    teacher = tiny_bert()
    with torch.no_grad():
        teacher.classifier.weight.mul_(1e6)
    with pytest.raises(InputError, match="fp16 holds no more than 65504"):
        cache_of(teacher, random_rows(6), tmp_path / "cache", storage_dtype=torch.float16)


def test_the_files_are_memory_mapped(tmp_path):
    cached = cache_of(tiny_bert(), random_rows(6), tmp_path / "cache")
    [path] = (tmp_path / "cache").glob("shard-*")
    with open("/proc/self/maps") as maps:
        mapped = [line.split()[0].split("-") for line in maps if str(path) in line]
    stored = cached._cache.store.take("logits", np.array([0, 5]))
    for values in stored:
        assert any(int(start, 16) <= values.data_ptr() < int(end, 16) for start, end in mapped)


# ---- Shards ----


def test_a_shard_is_written_when_it_is_large_or_old(tmp_path, monkeypatch):
    teacher, rows = tiny_bert(), random_rows(24)
    monkeypatch.setattr(shards, "SHARD_BYTES", 8 * (16 + 12))
    cache_of(teacher, rows, tmp_path / "small", batch_size=4)
    assert [len(shards.Shard(path).keys) for path in (tmp_path / "small").glob("shard-*")] == [8, 8, 8]
    monkeypatch.undo()
    cache_of(teacher, rows, tmp_path / "whole", batch_size=4)
    assert len(list((tmp_path / "whole").glob("shard-*"))) == 1
    monkeypatch.setattr(shards, "SHARD_SECONDS", 0)
    cached = cache_of(teacher, rows, tmp_path / "old", batch_size=4)
    assert len(list((tmp_path / "old").glob("shard-*"))) == 6
    # The same from several files as from one.
    collated = [
        teacher.collator(PaddingCollator())(list(rows)) for teacher in (cached, CachedTeacher(tmp_path / "whole"))
    ]
    assert torch.equal(*[next(value for name, value in batch.items() if "_logits" in name) for batch in collated])


def test_a_build_goes_on_where_it_stopped(tmp_path, monkeypatch):
    teacher, rows = tiny_bert(), random_rows(24)
    cache_of(copy.deepcopy(teacher), rows, tmp_path / "whole", batch_size=4)
    monkeypatch.setattr(shards, "SHARD_SECONDS", 0)
    counted = count_rows(teacher)

    def stop(module, args, inputs):
        if len(counted) == 5:
            raise KeyboardInterrupt

    teacher.register_forward_pre_hook(stop, with_kwargs=True)
    with pytest.raises(KeyboardInterrupt):
        cache_of(teacher, rows, tmp_path / "cache", batch_size=4)
    with pytest.raises(InputError, match="no complete"):
        CachedTeacher(tmp_path / "cache")
    assert len(stored_by_key(tmp_path / "cache")) == 12
    # What was being written, a damaged file, and one of another cache.
    (tmp_path / "cache" / ".unfinished-1-a").write_text("half")
    damaged, *_ = sorted((tmp_path / "cache").glob("shard-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    cache_of(tiny_bert(seed=9), rows, tmp_path / "other", batch_size=8)
    for path in (tmp_path / "other").glob("shard-*"):
        path.rename(tmp_path / "cache" / path.name)
    counted[:] = [0] * 10
    cache_of(teacher, rows, tmp_path / "cache", batch_size=4)
    assert sum(counted[10:]) == 1 + 16
    assert not list((tmp_path / "cache").glob(".unfinished*"))
    found, expected = stored_by_key(tmp_path / "cache"), stored_by_key(tmp_path / "whole")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_another_teacher_does_not_go_on_with_it(tmp_path):
    rows = random_rows(8)
    cache_of(tiny_bert(), rows, tmp_path / "cache")
    next((tmp_path / "cache").glob("index-*")).unlink()
    with pytest.raises(CacheMismatch, match="weights"):
        cache_of(tiny_bert(seed=3), rows, tmp_path / "cache")
    with pytest.raises(CacheMismatch, match="examples 8 there and 5 here"):
        cache_of(tiny_bert(), rows.select(range(5)), tmp_path / "cache")
    counted = count_rows(teacher := tiny_bert())
    cache_of(teacher, rows, tmp_path / "cache")
    assert not counted
    assert CachedTeacher(tmp_path / "cache")
    next((tmp_path / "cache").glob("index-*")).unlink()
    next((tmp_path / "cache").glob("fingerprint-*")).unlink()
    with pytest.raises(InputError, match="no fingerprint"):
        cache_of(teacher, rows, tmp_path / "cache")


# ---- Batches ----


def test_batches_are_halved_until_they_fit(tmp_path, monkeypatch):
    rows, teacher = random_rows(24), OutOfMemory(tiny_bert(), room=3)
    monkeypatch.setitem(build_share.FIRST_BATCH_SIZE, "cpu", 12)
    counted = count_rows(teacher.model)
    cached = cache_of(teacher, rows, tmp_path / "cache")
    assert len(counted) == 1 + 8 and set(counted[1:]) == {3}
    assert len(stored_by_key(tmp_path / "cache")) == 24
    assert cached.count_missing(np.stack(_keys(teacher, rows))) == 0
    # What was answered before is not answered again.
    counted.clear()
    teacher.room_in_first = [1, 12]
    cache_of(teacher, rows, tmp_path / "later")
    assert counted == [1, 12, 3, 3, 3, 3]
    assert len(stored_by_key(tmp_path / "later")) == 24
    with pytest.raises(torch.OutOfMemoryError):
        cache_of(teacher, rows, tmp_path / "fixed", batch_size=4)


def test_weights_of_several_dtypes_keep_them(tmp_path):
    teacher = tiny_bert().bfloat16()
    teacher.classifier.float()
    before = {name: value.dtype for name, value in teacher.state_dict().items()}
    found = []
    teacher.register_forward_pre_hook(
        lambda *args: found.append({name: value.dtype for name, value in teacher.state_dict().items()})
    )
    teacher.dropout.register_forward_hook(lambda module, args, output: output.float())
    cached = cache_of(teacher, random_rows(6), tmp_path / "cache")
    assert found and all(dtypes == before for dtypes in found)
    assert torch.float32 in before.values() and torch.bfloat16 in before.values()
    answers = cached(cached.collator(PaddingCollator())(list(random_rows(6))))
    torch.testing.assert_close(answers.logits[0], logits_of(teacher, random_rows(6)[0]), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_answers_that_are_no_numbers_are_refused(dtype, tmp_path):
    teacher = tiny_bert()
    with torch.no_grad():
        teacher.classifier.bias[1] = torch.nan
    with pytest.raises(InputError, match="logits are NaN for some rows"):
        cache_of(teacher, random_rows(6), tmp_path / "cache", storage_dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_class_that_is_ruled_out_is_stored(dtype, tmp_path):
    teacher = tiny_bert()
    with torch.no_grad():
        teacher.classifier.bias[1] = -torch.inf
    cached = cache_of(teacher, random_rows(6), tmp_path / "cache", storage_dtype=dtype)
    answers = cached(cached.collator(PaddingCollator())(list(random_rows(6))))
    assert (answers.logits[:, 1] == -torch.inf).all() and answers.logits[:, 0].isfinite().all()


def test_the_device_and_the_folder_may_be_words(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cache_of(tiny_bert(), random_rows(6), "~/cache", device="cpu")
    assert CachedTeacher(tmp_path / "cache")


def test_a_large_cache_is_announced(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(building.logger, "warning", told.append)
    cache_of(tiny_bert(), random_rows(6), tmp_path / "small")
    assert not told
    cache_of(tiny_bert(), random_rows(6), tmp_path / "wide", needs=last_hidden_state(tiny_bert()))
    monkeypatch.setattr(building, "LARGE_BYTES", 100)
    cache_of(tiny_bert(), random_rows(6), tmp_path / "large")
    assert len(told) == 2 and all("6 different rows" in message for message in told)


def test_no_sample_is_drawn_from_answers_that_are_no_numbers(tmp_path):
    teacher = tiny_bert(cls=BertForMaskedLM)
    with torch.no_grad():
        teacher.cls.predictions.bias[3] = torch.nan
    with pytest.raises(InputError, match="logits are NaN for some rows"):
        cache_of(teacher, random_rows(6, per_token=True), tmp_path / "cache", sampling=SparseSampling(2, 3, 2.0))
