"""Which checkpoints can be resumed from: a process that was killed while writing leaves one that cannot."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints
from transformers.utils import logging

from hf_distill.errors import InputError

logger = logging.get_logger(__name__)

_SHARDED_FOLDERS = ("pytorch_model_fsdp_*", "global_step*")
"""Where FSDP and DeepSpeed keep weights and optimiser, each process its part."""


def checkpoint_to_resume_from(asked: str | bool | None, output_dir: str | Path, num_processes: int = 1) -> str | None:
    """The checkpoint that ``train(resume_from_checkpoint=...)`` goes on from; None to start from the first step.

    Args:
        asked: A folder, or True for the last complete one in ``output_dir``, if there is one.
        output_dir: Where the run keeps its checkpoints.
        num_processes: How many go on.

    Raises:
        InputError: The folder that was named is no complete checkpoint.
    """
    if not asked:
        return None
    if asked is True:
        checkpoint = last_complete_checkpoint(output_dir, num_processes)
        if checkpoint is None:
            logger.warning(f"There is no complete checkpoint in {output_dir}: starting from the first step.")
            return None
    else:
        checkpoint, reason = str(asked), what_is_missing(str(asked), num_processes)
        if reason is not None:
            raise InputError(f"Cannot resume from {asked}: {reason}. Name a complete checkpoint.")
    if not all((Path(checkpoint) / name).is_file() for name in _random_states(num_processes)):
        logger.warning(
            f"{Path(checkpoint).name} was not written by {num_processes} process(es), which cannot take over the "
            "random states of others: dropout will differ from an uninterrupted run."
        )
    return checkpoint


def last_complete_checkpoint(folder: str | Path, num_processes: int = 1) -> str | None:
    """The newest checkpoint below ``folder`` that was written to the end; the incomplete ones are named in a warning.

    Args:
        folder: Where a run keeps its ``checkpoint-N`` folders; need not exist.
        num_processes: How many look for it; see :func:`what_is_missing`.
    """
    if not Path(folder).is_dir():
        return None
    for checkpoint in reversed(sort_checkpoints(str(folder))):
        reason = what_is_missing(checkpoint, num_processes)
        if reason is None:
            return checkpoint
        logger.warning(f"Skipping {Path(checkpoint).name}, which is incomplete: {reason}.")
    return None


def what_is_missing(checkpoint: str | Path, num_processes: int = 1) -> str | None:
    """Why a checkpoint cannot be resumed from, or None if it can.

    ``trainer_state.json`` is written last, so one that reads well vouches for the files before it. A rotation that
    was killed half-way deletes in any order, and a disk may lose what a power cut interrupts, so the other files are
    looked at as well. What FSDP and DeepSpeed shard into folders of their own is taken on trust.

    Args:
        checkpoint: The folder.
        num_processes: How many want to go on. Each process keeps a random state; a whole set of them by another number
            of processes is complete, too.
    """
    folder = Path(checkpoint)
    try:
        state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
    except (OSError, ValueError, TypeError):
        return "trainer_state.json is not there or was cut short"
    step = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)", folder.name)
    if step and int(step[1]) != state.global_step:
        return f"its trainer_state.json is of step {state.global_step}"
    if any(path.is_dir() for pattern in _SHARDED_FOLDERS for path in folder.glob(pattern)):
        return None
    broken = next((path for path in _training_state(folder, num_processes) if not zipfile.is_zipfile(path)), None)
    if broken is None:
        broken = next((path for path in _weights(folder) if not _is_whole(path)), None)
    return None if broken is None else f"{broken.name} is not there or was cut short"


def _training_state(folder: Path, num_processes: int) -> Iterator[Path]:
    """What `torch.save` wrote, as zip archives, whose directory is at their end."""
    is_fsdp = (folder / "pytorch_model_fsdp.bin").is_file()
    names = ["pytorch_model_fsdp.bin", "optimizer.bin"] if is_fsdp else ["optimizer.pt"]
    found = [path.name for path in folder.glob("rng_state*.pth")]
    random_states = _random_states(len(found))
    if not found or set(random_states) != set(found):
        random_states = _random_states(num_processes)
    return (folder / name for name in (*names, "scheduler.pt", *random_states))


def _random_states(num_processes: int) -> list[str]:
    return ["rng_state.pth"] if num_processes == 1 else [f"rng_state_{i}.pth" for i in range(num_processes)]


def _weights(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if (folder / "adapter_config.json").is_file():
        return [folder / "adapter_model.safetensors"]
    if not index.is_file():
        return [folder / "model.safetensors"]
    try:
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    except (ValueError, KeyError):
        return [index]


def _is_whole(weights: Path) -> bool:
    try:
        with safe_open(weights, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
