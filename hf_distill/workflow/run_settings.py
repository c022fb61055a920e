"""What a run was told, written beside its student, and whether a resumed run is told the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, StudentArguments
from hf_distill.arguments.objective_arguments import ObjectiveArguments
from hf_distill.errors import InputError
from hf_distill.version import __version__

_SHAPES_THE_STUDENT = (
    "label_smoothing_factor learning_rate "
    "lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args optim_target_modules weight_decay adam_beta1 "
    "adam_beta2 adam_epsilon max_grad_norm neftune_noise_alpha average_tokens_across_devices seed data_seed "
    "train_sampling_strategy dataloader_drop_last ignore_data_skip accelerator_config mixed_precision tf32 "
    "load_best_model_at_end metric_for_best_model greater_is_better"
).split() + [field.name for field in dataclasses.fields(ObjectiveArguments)]
_SHAPES_A_FINETUNED_TEACHER = ("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "world_size")
_CHOOSES_THE_BEST_TEACHER = ("eval_strategy", "eval_steps")
_BATCH = ("train_batch_size", "gradient_accumulation_steps", "world_size")


def run_settings(
    args: DistillationTrainingArguments, models: ModelArguments | StudentArguments, data_arguments: DataArguments
) -> dict[str, Any]:
    """All that a run was told, fit for JSON; the Hub's token is masked."""
    settings = {
        "hf_distill": __version__,
        "models": vars(models),
        "data": vars(data_arguments),
        "training": {
            **args.to_sanitized_dict(),
            "world_size": args.world_size,
            "mixed_precision": args.mixed_precision,
        },
    }
    return json.loads(json.dumps(settings, default=str))


def read_run_settings(path: Path) -> dict[str, Any] | None:
    """What :func:`run_settings` gave, None if the file is not there or was cut short."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(settings, dict) and all(
        isinstance(settings.get(section), dict) for section in ("models", "data", "training")
    )
    return settings if is_whole else None


def check_same_run(old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Check that a run would go on as it began: with the same models, rows and training, but for its length.

    What shapes no weight may differ: how often to log, save and evaluate, where to write, workers, devices.

    Args:
        old: The settings of the run that was interrupted.
        new: Those of the one that goes on.
        where: The folder of the old run, for the message.

    Raises:
        InputError: Names the first setting that differs.
    """
    old_training, new_training = what_shapes_training(old), what_shapes_training(new)
    old_sources, new_sources = what_it_starts_from(old), what_it_starts_from(new)
    changes = [(key, old_training[key], new_training[key]) for key in new_training if key in old_training]
    changes += [(key, old_sources.get(key), new_sources.get(key)) for key in {**old_sources, **new_sources}]
    for key, before, now in changes:
        if before != now:
            go_on = f"leave {key} out" if _is_unset(before) else f"set {key} to {_shown(before)}"
            raise InputError(
                f"{where!r} holds a run with {key} {_shown(before)}, which cannot go on with {key} {_shown(now)}; "
                f"{go_on}, name another output_dir, or start anew with --overwrite_output_dir in place of "
                "--resume_from_checkpoint."
            )


def check_held_out_rows(data_arguments: DataArguments) -> None:
    """Check that the rows to compare on are not those to learn from.

    Raises:
        InputError: Both are the same file.
    """
    train_file, validation_file = data_arguments.train_file, data_arguments.validation_file
    if train_file is None or validation_file is None:
        return
    if Path(train_file).expanduser().resolve() == Path(validation_file).expanduser().resolve():
        raise InputError(
            f"validation_file is {validation_file!r}, the same file as train_file, so that scores would be on rows "
            "learnt by heart; hold some rows back in a file of their own."
        )


def what_shapes_training(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments that shape a weight; for the student's, only the whole batch counts and not how it is split."""
    training, models = settings["training"], settings["models"]
    names = list(_SHAPES_THE_STUDENT)
    if models.get("finetune_teacher"):
        names += _SHAPES_A_FINETUNED_TEACHER
        if training.get("load_best_model_at_end"):
            names += _CHOOSES_THE_BEST_TEACHER
    shaping = {name: training[name] for name in names if name in training}
    if all(name in training for name in _BATCH):
        size = training["train_batch_size"] * training["gradient_accumulation_steps"] * training["world_size"]
        shaping["per_device_train_batch_size * gradient_accumulation_steps * processes"] = size
    return shaping


def what_it_starts_from(settings: dict[str, Any]) -> dict[str, Any]:
    """Models and rows. What a fine-tuned teacher takes over from the student's training is spelt out."""
    models = dict(settings["models"])
    if models.get("finetune_teacher"):
        for name in ("learning_rate", "num_train_epochs"):
            if models.get(f"teacher_{name}") is None:
                models[f"teacher_{name}"] = settings["training"].get(name)
    return {**models, **settings["data"]}


def _is_unset(value: Any) -> bool:
    return value is None or value == "None"


def _shown(value: Any) -> str:
    return "unset" if _is_unset(value) else repr(value)
