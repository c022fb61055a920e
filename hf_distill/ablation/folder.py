"""The folder of an ablation: what is finished, and who of several processes does what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hf_distill.ablation.settings import RunSettings
from hf_distill.ablation.trial import Outcome, Trial
from hf_distill.atomic_file import write_atomically
from hf_distill.errors import InputError

MARK_FILE = "ablation_settings.json"
LOCKS_FOLDER = "locks"
_TRIALS_FOLDER = "trials"


class AblationFolder:
    """Several processes may work in it at once: each claims what it does, and a claim ends with its process.

    Args:
        path: Where it is or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Refuse a folder that holds something else; writes nothing.

        Raises:
            InputError: It is a file, or holds files that are not of an ablation.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"output_dir {str(self.path)!r} is a file; name a folder, which need not exist yet.")
        is_ablation = (self.path / MARK_FILE).is_file() or (self.path / LOCKS_FOLDER).is_dir()
        if self.path.is_dir() and any(self.path.iterdir()) and not is_ablation:
            raise InputError(
                f"output_dir {str(self.path)!r} holds files that are not of an ablation, and they are left alone; "
                "name a new or empty folder."
            )

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder, and write down what this process was told."""
        (self.path / LOCKS_FOLDER).mkdir(parents=True, exist_ok=True)
        with self.waiting_for("results"):
            text = json.dumps(settings, indent=2, ensure_ascii=False, default=str)
            write_atomically(self.path / MARK_FILE, text + "\n")

    def outcome(self, trial: Trial) -> Outcome | None:
        """What came of a student; None if it is not finished."""
        try:
            return Outcome(**json.loads(self._file(trial).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Write it down; only for who has claimed the student."""
        file = self._file(trial)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(asdict(outcome), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    @contextmanager
    def scratch(self, trial: Trial) -> Iterator[Path]:
        """A place for checkpoints, empty before and gone after; only for who has claimed the student."""
        path = self._file(trial).with_suffix(".training")
        shutil.rmtree(path, ignore_errors=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def claim(self, what: str) -> Iterator[bool]:
        """Whether this process has it now; false if another one does."""
        lock = self._lock(what)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Have it, after whoever has it now."""
        with self._lock(what):
            yield

    def check_same(self, trial: Trial, outcome: Outcome, settings: RunSettings) -> None:
        """Check that a finished student was made as it would be now.

        Raises:
            InputError: Names the first setting that differs.
        """
        old, new = outcome.settings, settings.shaping
        for name in {**old, **new}:
            before, now = old.get(name), new.get(name)
            if before != now:
                raise InputError(
                    f"{str(self.path)!r} holds a score of ({trial}) with {name} {before!r}, which does not compare "
                    f"with {name} {now!r}; set it back, rename the variant, or name another output_dir."
                )

    def _file(self, trial: Trial) -> Path:
        return self.path / trial.task / _TRIALS_FOLDER / trial.variant.slug / f"seed-{trial.seed}.json"

    def _lock(self, what: str) -> FileLock:
        return FileLock(self.path / LOCKS_FOLDER / f"{what.replace('/', '.')}.lock")
