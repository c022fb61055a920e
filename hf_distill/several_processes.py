"""What the processes of a run do together while one of them may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from filelock import FileLock, Timeout

from hf_distill.errors import InputError

_ASK_AGAIN_SECONDS = 20.0


def this_process(device: torch.device | None) -> PartialState:
    """Which of the processes this is; without a GPU Accelerate counts them only if it is told that there is none."""
    is_cpu = device.type == "cpu" if device is not None else not torch.accelerator.is_available()
    return PartialState(cpu=is_cpu)


@contextmanager
def failing_together() -> Iterator[None]:
    """Where one process fails inside the block, all do, at its end; nothing inside may wait for the others.

    Raises:
        InputError: What was wrong in another process.
        RuntimeError: Something else went wrong there.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    told = error if error is None or isinstance(error, InputError) else RuntimeError(f"In a process: {error!r}")
    faults = [fault for fault in gather_object([told]) if fault is not None]
    if error is not None:
        raise error
    if faults:
        raise faults[0]


def decided_by_main(decide: Callable[[], Any]) -> Any:
    """What the main process decides, in all of them; where it fails all do."""
    decided = [None]
    with failing_together():
        if PartialState().is_main_process:
            decided = [decide()]
    return broadcast_object_list(decided)[0]


@contextmanager
def locked_by_main(lock: FileLock, tell_waiting: Callable[[], None]) -> Iterator[None]:
    """The main process holds the lock for all while they are in the block.

    Those that wait for the main process hear of it from time to time, or they would take it for dead.

    Args:
        lock: Not held yet by this run.
        tell_waiting: Called once, if someone else holds it.

    Raises:
        InputError: The lock's file cannot be written, or its file system has no locks.
    """
    wait_seconds = 0.0
    while not decided_by_main(partial(_acquired, lock, wait_seconds)):
        if not wait_seconds:
            tell_waiting()
        wait_seconds = _ASK_AGAIN_SECONDS
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise InputError(
            f"The file {str(lock.lock_file)!r} cannot be locked ({error}), so several runs could write there at once: "
            "name a folder that can be written to, on a file system with locks."
        ) from error
    return True
