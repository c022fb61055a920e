"""Fine-tune a teacher once, and use it again while nothing that made it has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.model_fingerprint import config_fingerprint, weights_fingerprint
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.output_folder import TEACHER_FOLDER, TEACHER_TRAINING_FOLDER
from hf_distill.workflow.training import train, without_teacher

logger = logging.get_logger(__name__)

RECIPE_FILE = "finetuning.json"
_WHAT_SHAPES_TRAINING = (
    "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps learning_rate "
    "lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args optim_target_modules weight_decay "
    "adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor bf16 fp16 seed data_seed "
    "train_sampling_strategy dataloader_drop_last neftune_noise_alpha load_best_model_at_end world_size"
).split()
_WHAT_SHAPES_THE_BEST = (
    "eval_strategy eval_steps eval_delay save_strategy save_steps metric_for_best_model greater_is_better"
).split()


def finetuned_teacher_folder(
    teacher: PreTrainedModel,
    untrained: list[str],
    models: ModelArguments,
    args: DistillationTrainingArguments,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase | BaseImageProcessor,
) -> str:
    """Train the teacher on the task's labels unless the run's folder holds it already.

    The folder appears whole or not at all: the teacher is written beside it and moved there at the end.

    Args:
        teacher: As it was published, with a head for the task. It is trained in place.
        untrained: Its weights that no checkpoint held, drawn from the seed.
        models: May give the teacher a learning rate and epochs of its own.
        args: The student's training, which the teacher's follows in everything else.
        data: The task.
        tokenizer: The teacher's, or its image processor; saved with it.

    Returns:
        The folder with the fine-tuned teacher.
    """
    output = Path(str(args.output_dir))
    folder, training_folder = output / TEACHER_FOLDER, output / TEACHER_TRAINING_FOLDER
    changes: dict[str, Any] = {}
    if models.teacher_learning_rate is not None:
        changes["learning_rate"] = models.teacher_learning_rate
    if models.teacher_num_train_epochs is not None:
        # The student's own max_steps would win over the epochs.
        changes |= {"num_train_epochs": models.teacher_num_train_epochs, "max_steps": -1}
    teacher_args = without_teacher(args, training_folder, **changes)
    if isinstance(teacher_args.resume_from_checkpoint, str):
        # A named checkpoint is the student's.
        teacher_args.resume_from_checkpoint = True
    recipe = finetuning_recipe(teacher, untrained, teacher_args, data)
    if _read_recipe(folder) == recipe:
        logger.warning(f"Using the fine-tuned teacher in {folder}: nothing that made it has changed.")
        return str(folder)
    trainer = train(teacher, teacher_args, data, tokenizer)
    state = PartialState()
    if state.is_main_process:
        for checkpoint in training_folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        (training_folder / RECIPE_FILE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        training_folder.rename(folder)
    trainer.accelerator.free_memory()
    state.wait_for_everyone()
    return str(folder)


def finetuning_recipe(
    teacher: PreTrainedModel, untrained: list[str], args: DistillationTrainingArguments, data: TaskData
) -> dict[str, Any]:
    """All that decides what fine-tuning gives, fit for JSON: the start, rows, their tokens, hyperparameters."""
    names = _WHAT_SHAPES_TRAINING + (_WHAT_SHAPES_THE_BEST if args.load_best_model_at_end else [])
    settings = {name: getattr(args, name) for name in names}
    recipe = {
        "weights": weights_fingerprint(teacher, untrained),
        "config": config_fingerprint(teacher),
        "rows": data.task.source["fingerprint"],
        "labels": data.task.label_names,
        "tokens": _inputs_fingerprint(data.train),
        **settings,
    }
    return json.loads(json.dumps(recipe, default=str))


def _inputs_fingerprint(rows: Dataset) -> str:
    if "input_ids" in rows.column_names:
        return hashlib.sha256(repr(rows["input_ids"][:]).encode()).hexdigest()
    digest = hashlib.sha256()
    for batch in rows.select_columns("pixel_values").with_format("numpy").iter(100):
        digest.update(batch["pixel_values"].tobytes())
    return digest.hexdigest()


def _read_recipe(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
