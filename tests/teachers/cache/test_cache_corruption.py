"""Whatever happens to a file of a cache is found out, and the file is named."""

import random
import re

import pytest
from conftest import PaddingCollator, random_rows, tiny_bert
from teachers.cache.cached_training import cache_of
from transformers import BertForTokenClassification

from hf_distill.errors import InputError
from hf_distill.teachers.cache import CachedTeacher, shards

ROWS = random_rows(24, per_token=True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder with several shards, and how to use it."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 500)
    folder, teacher = tmp_path / "cache", tiny_bert(cls=BertForTokenClassification)

    def build():
        return cache_of(teacher, ROWS, folder, batch_size=6)

    build()
    files = sorted(path for path in folder.iterdir() if path.stat().st_size)
    assert [path.name.split("-")[0] for path in files] == ["fingerprint", "index", *["shard"] * 4]
    return folder, files, build


def check_that_it_is_named(path, folder, build, what):
    for use in (build, lambda: CachedTeacher(folder)):
        with pytest.raises(InputError, match=re.escape(path.name) + f"' is {what}.*overwrite_teacher_cache"):
            use()


def test_50_single_bytes(cache):
    folder, files, build = cache
    generator = random.Random(0)
    for number in range(50):
        path = files[number % len(files)]
        content = path.read_bytes()
        place = generator.randrange(len(content))
        path.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :]
        )
        check_that_it_is_named(path, folder, build, "damaged")
        path.write_bytes(content)
    assert CachedTeacher(folder).collator(PaddingCollator())(list(ROWS))


def test_truncated_files(cache):
    folder, files, build = cache
    generator = random.Random(0)
    for path in files:
        content = path.read_bytes()
        for length in (0, generator.randrange(1, len(content)), len(content) - 1):
            path.write_bytes(content[:length])
            check_that_it_is_named(path, folder, build, "damaged")
        path.write_bytes(content + b"\0")
        check_that_it_is_named(path, folder, build, "damaged")
        path.write_bytes(content)


def test_missing_files(cache):
    folder, files, build = cache
    for path in files:
        content = path.read_bytes()
        path.unlink()
        if path.name.startswith("index"):
            # Then it is not complete, and lacks nothing but the index.
            with pytest.raises(InputError, match="no complete"):
                CachedTeacher(folder)
            build()
            assert path.read_bytes() == content
        else:
            check_that_it_is_named(path, folder, build, "missing")
            path.write_bytes(content)


def test_a_second_index(cache):
    _, files, build = cache
    index = files[1]
    other = index.with_name(f"{index.stem[:-1]}{'1' if index.stem[-1] == '0' else '0'}.json")
    other.write_bytes(index.read_bytes())
    with pytest.raises(InputError, match=other.name):
        build()
