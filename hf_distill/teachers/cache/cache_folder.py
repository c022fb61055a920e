"""The folder that a cache lies in: which files are its own, and in which order they come and go."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from transformers.utils import logging

from hf_distill.errors import InputError
from hf_distill.teachers.cache.sealed_file import DIGEST_DIGITS, UNFINISHED, WAYS_OUT, read_sealed, write_sealed

logger = logging.get_logger(__name__)

LOCK_FILE = "build.lock"
_OWN_FILES = re.compile(rf"(shard|fingerprint|index)-[0-9a-f]{{{DIGEST_DIGITS}}}\.(safetensors|json)|{LOCK_FILE}")


class CacheFolder:
    """A cache's files: first the fingerprint is written, then shards, and last the index, which makes it complete.

    Args:
        path: Where it is or will be.

    Raises:
        InputError: It is a file, or cannot be looked into.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._usable():
            is_file = path.exists() and not path.is_dir()
        if is_file:
            raise InputError(f"The teacher's cache cannot lie in {str(path)!r}, which is a file: name a folder.")

    @property
    def lock(self) -> FileLock:
        """Held by whoever builds."""
        # Others of a group that shares the folder may be the next to build.
        return FileLock(self.path / LOCK_FILE, mode=0o666)

    @property
    def index(self) -> Path | None:
        """The file that lists all others; None while the cache is not complete."""
        return self._only("index")

    @property
    def fingerprint(self) -> Path | None:
        """The file that tells what the answers were made from; None if nothing is there yet."""
        return self._only("fingerprint")

    @property
    def shards(self) -> list[Path]:
        """The files of answers that are there, listed in the index or not."""
        return self._files("shard-")

    def create(self, overwrite: bool) -> None:
        """Make the folder, if need be.

        Args:
            overwrite: A cache is to begin there, even if there is one.

        Raises:
            InputError: It cannot be made; or a cache would begin where something else lies.
        """
        with self._usable():
            self.path.mkdir(parents=True, exist_ok=True)
        foreign = [file.name for file in self._files() if not _is_own(file)]
        if foreign and (overwrite or self.fingerprint is None):
            raise InputError(
                f"{str(self.path)!r} holds what is not a teacher's cache (such as {foreign[0]!r}), which building one "
                "there could destroy: name an empty or a new folder."
            )

    def clear_unfinished(self) -> None:
        """Remove what a killed process was writing; only for who holds the lock."""
        self.remove(self._files(UNFINISHED))

    def clear(self) -> None:
        """Remove the cache; what an interruption leaves is an unfinished one. Only for who holds the lock."""
        for kind in ("index", "shard", "fingerprint"):
            self.remove(self._files(f"{kind}-"))

    def remove(self, files: Sequence[Path]) -> None:
        """Remove some of its files."""
        with self._usable():
            for file in files:
                file.unlink(missing_ok=True)

    def check_empty(self) -> None:
        """Check that a cache can begin here.

        Raises:
            InputError: There are answers already.
        """
        if self.shards:
            raise InputError(
                f"{str(self.path)!r} holds a teacher's answers and no fingerprint that tells what they were made "
                f"from; {WAYS_OUT}."
            )

    def write_fingerprint(self, content: Mapping[str, Any]) -> Path:
        """Begin a cache."""
        return self._write_json("fingerprint", content)

    def write_index(self, fingerprint: str, shards: Sequence[str]) -> Path:
        """Declare the cache complete.

        Args:
            fingerprint: The name of the file.
            shards: The names of all shards.
        """
        return self._write_json("index", {"fingerprint": fingerprint, "shards": list(shards)})

    def listed(self, index: Path | None = None) -> tuple[Path, list[Path]]:
        """The files of a complete cache: its fingerprint and its shards, as the index lists them.

        Args:
            index: Where it is known; a shared file system may not list yet what another machine has written.

        Raises:
            InputError: There is no index, or it is damaged.
        """
        index = index or self.index
        if index is None:
            raise InputError(
                f"{str(self.path)!r} holds no complete teacher's cache: make it with cache_teacher_outputs, which "
                "also goes on with one that was interrupted."
            )
        content = json.loads(read_sealed(index))
        return self.path / content["fingerprint"], [self.path / name for name in content["shards"]]

    def _write_json(self, kind: str, content: Mapping[str, Any]) -> Path:
        with self._usable():
            return write_sealed(self.path, kind, ".json", json.dumps(content, indent=2).encode())

    def _files(self, beginning: str = "") -> list[Path]:
        with self._usable():
            names = os.listdir(self.path) if self.path.exists() else []
        return sorted(self.path / name for name in names if name.startswith(beginning))

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"The folder {str(self.path)!r} for the teacher's cache cannot be used ({error.strerror or error}): "
                "name one that can be read and written to."
            ) from error

    def _only(self, kind: str) -> Path | None:
        files = self._files(f"{kind}-")
        if len(files) > 1:
            raise InputError(
                f"{str(self.path)!r} holds {files[0].name!r} and {files[1].name!r}, where only one of them can be "
                f"right; {WAYS_OUT}."
            )
        return files[0] if files else None


def read_fingerprint(path: Path) -> dict[str, Any]:
    """What :meth:`CacheFolder.write_fingerprint` wrote.

    Raises:
        InputError: The file is missing or damaged.
    """
    return json.loads(read_sealed(path))


def _is_own(file: Path) -> bool:
    return file.name.startswith(".") or _OWN_FILES.fullmatch(file.name) is not None
