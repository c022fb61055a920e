"""What a shared file system does not list (yet) is neither lost nor removed, and no cache is complete without it."""

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from teachers.cache.cached_training import cache_of
from teachers.cache.observed_builds import count_rows, stored_by_key

from hf_distill.errors import InputError
from hf_distill.teachers.cache import build_share, building, cache_folder, shards
from hf_distill.teachers.cache.sealed_file import UnseenFile, verify_sealed


@pytest.fixture
def unfinished(tmp_path, monkeypatch):
    """A folder with six shards and no index."""
    monkeypatch.setattr(shards, "SHARD_SECONDS", 0)
    cache_of(tiny_bert(), random_rows(24), tmp_path / "cache", batch_size=4)
    next((tmp_path / "cache").glob("index-*")).unlink()
    return tmp_path / "cache"


def test_a_folder_that_lists_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_folder.os, "listdir", lambda path: [])
    monkeypatch.setattr(shards, "SHARD_SECONDS", 0)
    cached = cache_of(tiny_bert(), random_rows(24), tmp_path / "cache", batch_size=4)
    assert len(cached.collator(PaddingCollator())(list(random_rows(24)))["input_ids"]) == 24
    assert len(stored_by_key(tmp_path / "cache")) == 24


def test_a_shard_that_is_not_seen_is_not_removed(unfinished, monkeypatch):
    hidden, *_ = before = sorted(unfinished.glob("shard-*"))

    def verify(path):
        if path == hidden:
            raise UnseenFile(str(path))
        verify_sealed(path)

    monkeypatch.setattr(building, "verify_sealed", verify)
    counted = count_rows(teacher := tiny_bert())
    monkeypatch.setattr(building.CacheFolder, "remove", lambda folder, files: None if not files else 1 / 0)
    cached = cache_of(teacher, random_rows(24), unfinished, batch_size=4)
    assert counted == [1, 4] and set(before) <= set(unfinished.glob("shard-*"))
    assert cached.collator(PaddingCollator())(list(random_rows(24)))


def test_a_shard_that_cannot_be_read_is_not_removed(unfinished, monkeypatch):
    """A user who runs as root reads everything, so the fault is the file's own: it is a folder."""
    first, *_ = before = sorted(unfinished.glob("shard-*"))
    first.unlink()
    first.mkdir()
    with pytest.raises(InputError, match=f"{first.name}' cannot be read"):
        cache_of(tiny_bert(), random_rows(24), unfinished, batch_size=4)
    assert before == sorted(unfinished.glob("shard-*"))


def test_no_index_without_all_rows(tmp_path, monkeypatch):
    run = build_share.BuildShare.run
    monkeypatch.setattr(build_share.BuildShare, "run", lambda share, numbers, size: run(share, numbers[:-3], size))
    with pytest.raises(InputError, match="3 of 24 different rows were not answered"):
        cache_of(tiny_bert(), random_rows(24), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("index-*"))


def test_no_index_where_the_main_process_does_not_see_a_shard(tmp_path, monkeypatch):
    gather = building.gather_object
    monkeypatch.setattr(
        building, "gather_object", lambda told: [*gather(told), "shard-of-another-machine.safetensors"] if told else []
    )
    with pytest.raises(InputError, match="folder that all processes share"):
        cache_of(tiny_bert(), random_rows(24), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("index-*"))


def test_rows_whose_answers_find_no_room_are_answered_again(tmp_path, monkeypatch):
    rows, as_stored, asked = random_rows(24), building.AnsweringTeacher.as_stored, []

    def without_room(answering, answers):
        asked.append(len(answers.keys))
        if len(asked) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return as_stored(answering, answers)

    monkeypatch.setitem(build_share.FIRST_BATCH_SIZE, "cpu", 8)
    monkeypatch.setattr(building.AnsweringTeacher, "as_stored", without_room)
    cached = cache_of(tiny_bert(), rows, tmp_path / "cache")
    assert asked == [1, 8, 8, 4, 4, 4, 4]
    assert cached.collator(PaddingCollator())(list(rows))
