"""Sealed files appear whole, and are known to be whole."""

import hashlib
import os

import pytest

from hf_distill.errors import InputError
from hf_distill.teachers.cache.sealed_file import read_sealed, verify_sealed, write_sealed


def test_the_name_carries_the_digest_of_the_content(tmp_path):
    path = write_sealed(tmp_path, "shard", ".bin", b"content" * 1000)
    assert path.name == f"shard-{hashlib.sha256(b'content' * 1000).hexdigest()[:32]}.bin"
    assert read_sealed(path) == b"content" * 1000
    verify_sealed(path)
    assert write_sealed(tmp_path, "shard", ".bin", b"content" * 1000) == path
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("check", [read_sealed, verify_sealed])
def test_a_damaged_or_missing_file_is_named(check, tmp_path):
    path = write_sealed(tmp_path, "shard", ".bin", bytes(3_000_000))
    os.truncate(path, 2_999_999)
    with pytest.raises(InputError, match=rf"{path.name}' is damaged.*overwrite_teacher_cache"):
        check(path)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name}' is missing.*overwrite_teacher_cache"):
        check(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_nothing_is_there_before_all_is_written(step, tmp_path, monkeypatch):
    def no_space(*args):
        assert not list(tmp_path.glob("shard-*"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(OSError, match="No space"):
        write_sealed(tmp_path, "shard", ".bin", b"content")
    assert not list(tmp_path.iterdir())
