"""The models of a run on images."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel, set_seed
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.arguments.model_arguments import CNN
from hf_distill.errors import InputError
from hf_distill.students import create_student
from hf_distill.students.cnn import create_image_cnn
from hf_distill.tasks import Task
from hf_distill.workflow.models import Source, check_labels, fit_head, load_classifier, loading, number_labels

_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)


def load_image_classifier(
    source: Source, task: Task, args: DistillationTrainingArguments, trust_remote_code: bool, new_head: bool
) -> tuple[PreTrainedModel, list[str]]:
    """A classifier of images in fp32 and whole on every process.

    Args:
        source: Its checkpoint; with ``new_head``, a configuration alone will do, and all weights are new.
        task: Its labels are the head's where ``new_head`` is true.
        args: The run; its seed draws the weights that the checkpoint lacks.
        trust_remote_code: Run code that the checkpoint brings along.
        new_head: Make the head fit the task; the checkpoint's stays where it fits already.

    Returns:
        The model, and the names of the weights that were drawn at random.

    Raises:
        InputError: It cannot be loaded.
    """
    if not new_head or _has_weights(source):
        auto_class = AutoModelForImageClassification
        return load_classifier(source, task, None, args, trust_remote_code, new_head, auto_class)
    common: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    with loading(source.name, "configuration"):
        config = AutoConfig.from_pretrained(source.path, revision=source.commit or "main", **common)
        fit_head(config, task)
        set_seed(args.seed)
        model = AutoModelForImageClassification.from_config(config, **common)
    return model, sorted(model.state_dict())


def load_image_teacher(
    source: Source, models: ModelArguments, task: Task, args: DistillationTrainingArguments
) -> tuple[PreTrainedModel, list[str]]:
    """The teacher as it was published; with ``finetune_teacher``, its head new where it fits the task no longer.

    Raises:
        InputError: It cannot be loaded, was made for other labels, or has a head that was never trained.
    """
    if not models.finetune_teacher and not _has_weights(source):
        raise InputError(
            f"The teacher {source.name!r} is a configuration without weights, which knows nothing; name a fine-tuned "
            "teacher, or add --finetune_teacher to train it on the task first."
        )
    teacher, untrained = load_image_classifier(source, task, args, models.trust_remote_code, models.finetune_teacher)
    if models.finetune_teacher:
        return teacher, untrained
    if untrained:
        raise InputError(
            f"The teacher {source.name!r} has no trained head for this task (missing: {', '.join(untrained)}), so it "
            "would teach noise; name a fine-tuned teacher, or add --finetune_teacher to train it on the task first."
        )
    check_labels(teacher, task, f"teacher {source.name!r}")
    return teacher, []


def make_image_student(
    source: Source | None,
    models: ModelArguments,
    task: Task,
    args: DistillationTrainingArguments,
    teacher: PreTrainedModel,
    image_size: tuple[int, int],
) -> PreTrainedModel:
    """The student before training: another checkpoint, a CNN, or some of the teacher's layers.

    Args:
        source: Of the checkpoint, None without one.
        models: Which of them.
        task: Its labels are the head's.
        args: The run; its seed draws a CNN's weights.
        teacher: With the task's labels.
        image_size: Height and width, in pixels, that both see.

    Raises:
        InputError: It cannot be had.
    """
    if source is not None:
        return load_image_classifier(source, task, args, models.trust_remote_code, new_head=True)[0]
    if models.student_architecture == CNN:
        width = {} if models.student_hidden_size is None else {"hidden_size": models.student_hidden_size}
        student: PreTrainedModel = create_image_cnn(
            teacher, models.num_layers or 6, **width, image_size=image_size, seed=args.seed
        )
    else:
        student = create_student(teacher, models.num_layers, models.layers, models.layer_selection)
    number_labels(student, task)
    return student


def _has_weights(source: Source) -> bool:
    missing_is_fine: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False}
    revision = source.commit or "main"
    return any(cached_file(source.path, name, revision=revision, **missing_is_fine) for name in _WEIGHTS)
