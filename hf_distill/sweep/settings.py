"""What the scores of a sweep depend on, beyond what every run is checked for when it is resumed."""

from __future__ import annotations

import json
from typing import Any

from hf_distill.arguments import DistillationTrainingArguments, SweepArguments
from hf_distill.errors import InputError
from hf_distill.tasks import Task

_LENGTH = ("num_train_epochs", "max_steps")
_CHOOSES_THE_BEST_STEP = ("eval_strategy", "eval_steps", "save_strategy", "save_steps")


def sweep_settings(sweep: SweepArguments, args: DistillationTrainingArguments, task: Task) -> dict[str, Any]:
    """The search space, the length of a trial and the rows, fit for JSON. The number of trials may change."""
    names = _LENGTH + (_CHOOSES_THE_BEST_STEP if args.load_best_model_at_end else ())
    settings = {
        **{name: value for name, value in vars(sweep).items() if name != "n_trials"},
        **{name: getattr(args, name) for name in names},
        "fingerprint of the rows": task.source["fingerprint"],
    }
    return json.loads(json.dumps(settings))


def check_same_sweep(old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Check that the scores of further trials would compare with those that are there.

    Args:
        old: The settings of the sweep that was interrupted.
        new: Those of the one that goes on.
        where: The folder of the old sweep, for the message.

    Raises:
        InputError: Names the first setting that differs.
    """
    for name in {**old, **new}:
        before, now = old.get(name), new.get(name)
        if before != now:
            raise InputError(
                f"{where!r} holds a sweep with {name} {before!r}, whose trials do not compare with those of {name} "
                f"{now!r}; set it back, name another output_dir, or start anew with --overwrite_output_dir in place "
                "of --resume_from_checkpoint."
            )
