"""Which checkpoints can be resumed from: a process that was killed while writing leaves one that cannot."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints
from transformers.utils import logging

logger = logging.get_logger(__name__)

_TRAINING_STATE = ("optimizer.pt", "scheduler.pt")


def last_complete_checkpoint(folder: str | Path, num_processes: int = 1) -> str | None:
    """The newest checkpoint below ``folder`` that was written to the end; the incomplete ones are named in a warning.

    Args:
        folder: Where a run keeps its ``checkpoint-N`` folders; need not exist.
        num_processes: Each process writes its random state, so all of theirs must be there.
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

    Trainer writes ``trainer_state.json`` last, so one that reads well vouches for the files before it. A rotation that
    was killed half-way deletes in any order, so the weights and the training state are looked for as well. Sharded
    layouts (FSDP, DeepSpeed) keep those in folders of their own, which are taken on trust.
    """
    folder = Path(checkpoint)
    try:
        state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
    except (OSError, ValueError, TypeError):
        return "trainer_state.json is not there or was cut short"
    if folder.name != f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}":
        return f"its trainer_state.json is of step {state.global_step}"
    if any(path.is_dir() for path in folder.iterdir()):
        return None
    random_states = ["rng_state.pth"] if num_processes == 1 else [f"rng_state_{i}.pth" for i in range(num_processes)]
    for name in (*_TRAINING_STATE, *random_states):
        if not (folder / name).is_file():
            return f"{name} is not there"
    return _what_is_wrong_with_weights(folder)


def _what_is_wrong_with_weights(folder: Path) -> str | None:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (OSError, SafetensorError):
            return f"{name} is not there or was cut short"
    return None
