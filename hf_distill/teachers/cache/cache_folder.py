"""The folder that a cache lies in: which files are its own, and in which order they come and go."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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
        InputError: Something else lies there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise InputError(f"The teacher's cache cannot lie in {str(path)!r}, which is a file: name a folder.")
        foreign = sorted(file.name for file in path.iterdir() if not _is_own(file)) if path.exists() else []
        if foreign:
            raise InputError(
                f"{str(path)!r} holds what is not a teacher's cache (such as {foreign[0]!r}), which building one "
                "there could destroy: name an empty or a new folder."
            )

    @property
    def lock(self) -> FileLock:
        """Held by whoever builds."""
        return FileLock(self.path / LOCK_FILE)

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
        return sorted(self.path.glob("shard-*"))

    def create(self) -> None:
        """Make the folder, if need be.

        Raises:
            InputError: It cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The folder {str(self.path)!r} for the teacher's cache cannot be made ({error.strerror}): name one "
                "that can be written to."
            ) from error

    def clear_unfinished(self) -> None:
        """Remove what a killed process was writing; only for who holds the lock."""
        for file in self.path.glob(f"{UNFINISHED}*"):
            file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the cache; what an interruption leaves is an unfinished one. Only for who holds the lock."""
        for kind in ("index", "shard", "fingerprint"):
            for file in self.path.glob(f"{kind}-*"):
                file.unlink()

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

    def write_index(self, shards: Sequence[Path]) -> Path:
        """Declare the cache complete."""
        fingerprint = self.fingerprint
        if fingerprint is None:
            raise InputError(
                f"The fingerprint in {str(self.path)!r} was removed while the cache was made; {WAYS_OUT}."
            )
        names = [shard.name for shard in shards]
        return self._write_json("index", {"fingerprint": fingerprint.name, "shards": names})

    def listed(self) -> tuple[Path, list[Path]]:
        """The files of a complete cache: its fingerprint and its shards, as the index lists them.

        Raises:
            InputError: There is no index, or it is damaged.
        """
        if self.index is None:
            raise InputError(
                f"{str(self.path)!r} holds no complete teacher's cache: make it with cache_teacher_outputs, which "
                "also goes on with one that was interrupted."
            )
        content = json.loads(read_sealed(self.index))
        return self.path / content["fingerprint"], [self.path / name for name in content["shards"]]

    def _write_json(self, kind: str, content: Mapping[str, Any]) -> Path:
        return write_sealed(self.path, kind, ".json", json.dumps(content, indent=2).encode())

    def _only(self, kind: str) -> Path | None:
        files = sorted(self.path.glob(f"{kind}-*"))
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
    return file.name.startswith(UNFINISHED) or _OWN_FILES.fullmatch(file.name) is not None
