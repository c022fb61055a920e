"""Files whose names carry a digest of what is in them, so that a damaged one is never mistaken for a whole one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from hf_distill.errors import InputError

UNFINISHED = ".unfinished-"
"""How the name of a file begins while it is written."""
DIGEST_DIGITS = 32
_BLOCK = 1 << 20
WAYS_OUT = (
    "rebuild the cache with overwrite_teacher_cache (in Python overwrite=True), or name another folder for the cache"
)


class DamagedFile(InputError):
    """A file holds something else than what was written."""


class UnseenFile(InputError):
    """A file is not there, or a shared file system does not show it to this process yet."""


def write_sealed(folder: Path, kind: str, suffix: str, content: bytes) -> Path:
    """Write ``KIND-DIGEST.SUFFIX`` so that it appears whole or not at all, also if the machine goes down.

    Args:
        folder: It must exist. Other processes may write there at the same time, also the same content.
        kind: The first part of the name.
        suffix: With its dot.
        content: All of it.

    Returns:
        The path of the file.
    """
    path = folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]}{suffix}"
    unfinished = folder / f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with open(unfinished, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(folder)
    return path


def read_sealed(path: Path) -> bytes:
    """What was written.

    Raises:
        InputError: The file is not there, cannot be read, or is not what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    _check(path, hashlib.sha256(content).hexdigest())
    return content


def verify_sealed(path: Path) -> None:
    """Check a file of any size block by block.

    Raises:
        DamagedFile: The file is not what was written.
        UnseenFile: It is not there.
        InputError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from None
    _check(path, digest.hexdigest())


def _check(path: Path, digest: str) -> None:
    if path.stem.rpartition("-")[2] != digest[:DIGEST_DIGITS]:
        raise DamagedFile(
            f"{str(path)!r} is damaged: its checksum is not the one in its name, so what the teacher answered can no "
            f"longer be read from it; {WAYS_OUT}."
        )


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return UnseenFile(f"{str(path)!r} is missing, and with it some of the teacher's answers; {WAYS_OUT}.")
    return InputError(
        f"{str(path)!r} cannot be read ({error.strerror}), and with it some of the teacher's answers: make it "
        f"readable; or {WAYS_OUT}."
    )


def _sync_folder(folder: Path) -> None:
    # Folders cannot be opened on Windows.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
