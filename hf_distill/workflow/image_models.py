"""The teacher of a run on images, and models made of a configuration alone."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel, set_seed
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.errors import InputError
from hf_distill.tasks import Task
from hf_distill.workflow.models import Source, fit_head, load_teacher, loading, number_labels, whole_weights

_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)


def build_image_classifier(
    source: Source, task: Task, args: DistillationTrainingArguments, trust_remote_code: bool
) -> PreTrainedModel:
    """The classifier of images that a configuration alone describes, with the task's labels and random weights.

    Args:
        source: Its configuration; weights beside it are left alone.
        task: Its labels are the head's.
        args: The run; its seed draws the weights.
        trust_remote_code: Run code that the configuration brings along.

    Raises:
        InputError: It cannot be built.
    """
    common: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    with loading(source.name, "configuration"), whole_weights(args):
        config = AutoConfig.from_pretrained(source.path, revision=source.commit or "main", **common)
        fit_head(config, task)
        set_seed(args.seed)
        model = AutoModelForImageClassification.from_config(config, dtype=torch.float32, **common)
    number_labels(model, task)
    return model


def load_image_teacher(
    source: Source, models: ModelArguments, task: Task, args: DistillationTrainingArguments
) -> tuple[PreTrainedModel, list[str]]:
    """The teacher as it was published; with ``finetune_teacher``, its head new where it fits the task no longer.

    Raises:
        InputError: It cannot be loaded, was made for other labels, or has a head that was never trained.
    """
    trust = models.trust_remote_code
    if not _has_weights(source):
        if models.finetune_teacher:
            teacher = build_image_classifier(source, task, args, trust)
            return teacher, sorted(teacher.state_dict())
        raise InputError(
            f"The teacher {source.name!r} is a configuration without weights, which knows nothing; name a fine-tuned "
            "teacher, or add --finetune_teacher to train it on the task first."
        )
    return load_teacher(source, models, task, None, args, AutoModelForImageClassification)


def _has_weights(source: Source) -> bool:
    missing_is_fine: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False}
    revision = source.commit or "main"
    return any(cached_file(source.path, name, revision=revision, **missing_is_fine) for name in _WEIGHTS)
