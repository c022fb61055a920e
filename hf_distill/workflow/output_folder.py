"""One folder, one run: what may be written where, and what an overwritten run leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from accelerate import PartialState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, StudentArguments
from hf_distill.atomic_file import unfinished, write_atomically
from hf_distill.errors import InputError
from hf_distill.workflow.run_settings import check_held_out_rows, check_same_run, read_run_settings, run_settings

RUN_FILE = "run.json"
TEACHER_FOLDER = "teacher"
TEACHER_TRAINING_FOLDER = "teacher-training"
TEACHER_CACHE_FOLDER = "teacher_cache"
BASELINE_FOLDER = "baseline"
_LEFTOVERS = (f"{PREFIX_CHECKPOINT_DIR}-*", TEACHER_TRAINING_FOLDER, BASELINE_FOLDER, "runs", "README.md", "*.json")


def check_output_folder(
    args: DistillationTrainingArguments, models: ModelArguments | StudentArguments, data_arguments: DataArguments
) -> None:
    """Refuse, before anything is loaded, what would lose files or pass one run off as another; writes nothing.

    A folder that holds anything already must be a run to resume, with the same settings, or to overwrite, and models
    and rows must not lie where the run writes. The rows to compare on must not be those to learn from.

    Args:
        args: The run.
        models: Which models it starts from.
        data_arguments: Which rows it reads.

    Raises:
        InputError: Says what was found there and how to go on.
    """
    folder = Path(str(args.output_dir))
    check_held_out_rows(data_arguments)
    _check_writable(folder, "output_dir")
    _check_models_elsewhere(folder, models)
    resumes = args.resume_from_checkpoint
    if _holds_anything(folder):
        if not _is_run(folder):
            raise InputError(
                f"output_dir {str(folder)!r} holds files that are not of a run, and they are left alone; "
                "name a new or empty folder."
            )
        if not (args.overwrite_output_dir or resumes):
            raise InputError(
                f"output_dir {str(folder)!r} holds another run, which would be lost; name another folder, or add "
                "--resume_from_checkpoint to go on with it or --overwrite_output_dir to replace it."
            )
        if not resumes:
            _check_rows_survive(folder, data_arguments)
    if resumes:
        _check_resumed_run(folder, args, models, data_arguments)


def claim_output_folder(
    args: DistillationTrainingArguments, models: ModelArguments | StudentArguments, data_arguments: DataArguments
) -> None:
    """Make the folder this run's own: clear what an overwritten run left, and write down the settings, secrets masked.

    A fine-tuned teacher stays: whether it still fits is decided when it is asked for.

    Args:
        args: The run.
        models: Which models it starts from.
        data_arguments: Which rows it reads.
    """
    state, folder = PartialState(), Path(str(args.output_dir))
    state.wait_for_everyone()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        if args.overwrite_output_dir and not args.resume_from_checkpoint:
            for path in _leftovers(folder):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        text = json.dumps(run_settings(args, models, data_arguments), indent=2) + "\n"
        write_atomically(folder / RUN_FILE, text)
    state.wait_for_everyone()


def check_cache_folder(folder: Path, output_folder: Path) -> None:
    """Refuse, before anything is written, a folder that no teacher's cache can lie in.

    Args:
        folder: What ``teacher_cache_dir`` names.
        output_folder: Where the run writes everything else.

    Raises:
        InputError: It is no folder, cannot be written, or is mixed up with the run's own.
    """
    if _lies_in(str(output_folder), folder) or _lies_in(str(folder), output_folder):
        raise InputError(
            f"teacher_cache_dir {str(folder)!r} and output_dir {str(output_folder)!r} lie in each other, and their "
            "files would be mixed up; write true, for a folder of its own in output_dir, or name one elsewhere."
        )
    if not any(folder.glob("index-*")):
        # A finished cache may be one that can only be read.
        _check_writable(folder, "teacher_cache_dir")


def _check_writable(folder: Path, key: str) -> None:
    nearest = Path(os.path.abspath(folder))
    # Not Path.exists, which raises below a folder that may not be entered.
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        found = "is" if nearest == Path(os.path.abspath(folder)) else f"lies below {str(nearest)!r}, which is"
        raise InputError(f"{key} {str(folder)!r} {found} no folder; name a folder, which need not exist yet.")
    try:
        # Permission bits do not tell of file systems that are read-only or not made for files.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(
            f"{key} {str(folder)!r} cannot be written ({error.strerror} in {str(nearest)!r}); name a folder that "
            "you may write to."
        ) from error


def _check_models_elsewhere(folder: Path, models: ModelArguments | StudentArguments) -> None:
    named = [("teacher_name_or_path", name) for name in getattr(models, "teacher_names", [])]
    keys = ("student_name_or_path", "student_config_name_or_path")
    named += [(key, getattr(models, key)) for key in keys if hasattr(models, key)]
    for key, name in named:
        if name is not None and os.path.isdir(name) and _lies_in(name, folder):
            raise InputError(
                f"{key} {name!r} lies in output_dir {str(folder)!r}, where this run writes, and would be lost or "
                "mixed up with it; name another output_dir."
            )


def _check_rows_survive(folder: Path, data_arguments: DataArguments) -> None:
    cleared = _leftovers(folder)
    keys = ("train_file", "validation_file", "unlabelled_file", "augmentation_vectors", "data_dir", "dataset_name")
    for key in keys:
        name = getattr(data_arguments, key)
        path = os.path.expanduser(name or "")
        if os.path.exists(path) and any(_lies_in(path, leftover) for leftover in cleared):
            raise InputError(
                f"{key} {name!r} lies where --overwrite_output_dir clears the old run in {str(folder)!r}; move it "
                "elsewhere, or name another output_dir."
            )


def _check_resumed_run(
    folder: Path,
    args: DistillationTrainingArguments,
    models: ModelArguments | StudentArguments,
    data_arguments: DataArguments,
) -> None:
    folders = [folder]
    if isinstance(args.resume_from_checkpoint, str):
        # A checkpoint that is named may be another run's.
        folders.append(Path(os.path.abspath(args.resume_from_checkpoint)).parent)
    settings = run_settings(args, models, data_arguments)
    for place in folders:
        old = read_run_settings(place / RUN_FILE)
        if old is not None:
            check_same_run(old, settings, str(place))


def _holds_anything(folder: Path) -> bool:
    try:
        return any(path != unfinished(folder / RUN_FILE) for path in folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"output_dir {str(folder)!r} cannot be read ({error.strerror}), so what it holds is not known; name a "
            "folder that you may read."
        ) from error


def _leftovers(folder: Path) -> list[Path]:
    """What an overwritten run left, but for its settings, which are replaced last: until then it is still a run."""
    found = {path for pattern in _LEFTOVERS for path in folder.glob(pattern)}
    return sorted(found - {folder / RUN_FILE})


def _lies_in(path: str, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_run(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() or any(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
