"""One folder, one run: what may be written where, and what an overwritten run leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.errors import InputError

RUN_FILE = "run.json"
TEACHER_FOLDER = "teacher"
TEACHER_TRAINING_FOLDER = "teacher-training"
BASELINE_FOLDER = "baseline"
_LEFTOVERS = (f"{PREFIX_CHECKPOINT_DIR}-*", TEACHER_TRAINING_FOLDER, BASELINE_FOLDER, "runs", "README.md", "*.json")


def check_output_folder(args: DistillationTrainingArguments) -> None:
    """Refuse a folder that holds anything already, unless that is a run to resume or to overwrite.

    Raises:
        InputError: Says what was found there and how to go on.
    """
    folder = Path(str(args.output_dir))
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir is {str(folder)!r}, which is a file; name a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_run(folder):
        raise InputError(
            f"output_dir {str(folder)!r} holds files that are not of a run, and they are left alone; "
            "name a new or empty folder."
        )
    if not (args.overwrite_output_dir or args.resume_from_checkpoint):
        raise InputError(
            f"output_dir {str(folder)!r} holds another run, which would be lost; name another folder, or add "
            "--resume_from_checkpoint to go on with it or --overwrite_output_dir to replace it."
        )


def claim_output_folder(args: DistillationTrainingArguments, settings: dict[str, Any]) -> None:
    """Make the folder this run's own: clear what an overwritten run left, and write down the settings.

    A fine-tuned teacher stays: whether it still fits is decided when it is asked for.

    Args:
        args: The run.
        settings: What to remember of it, fit for JSON and free of secrets.
    """
    state, folder = PartialState(), Path(str(args.output_dir))
    state.wait_for_everyone()
    if state.is_main_process:
        if args.overwrite_output_dir and not args.resume_from_checkpoint:
            for pattern in _LEFTOVERS:
                for path in list(folder.glob(pattern)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RUN_FILE).write_text(json.dumps(settings, indent=2, default=str) + "\n", encoding="utf-8")
    state.wait_for_everyone()


def _is_run(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() or any(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
