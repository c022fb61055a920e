"""Load the models of a run, and refuse before training those that cannot play their part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.utils import CONFIG_NAME, cached_file, logging
from transformers.utils.hub import extract_commit_hash

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.errors import InputError, one_line
from hf_distill.model_names import resolve_model_name
from hf_distill.students import reorder_labels
from hf_distill.tasks import Task
from hf_distill.teachers import label_names, match_labels
from hf_distill.teachers.label_matching import are_placeholders

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: As it was given: a folder, a Hub id or ``package:...``.
        path: What ``from_pretrained`` takes.
        commit: On the Hub, what the revision stood for when the run began; None for a folder.
    """

    name: str
    path: str
    commit: str | None

    @classmethod
    def find(cls, name: str, revision: str | None = None) -> Source:
        """Find a model, and pin the commit so that all that is loaded later is of the same one.

        Raises:
            InputError: There is no such model.
        """
        path = resolve_model_name(name)
        with loading(name, "configuration"):
            file = cached_file(path, CONFIG_NAME, revision=revision or "main")
        return cls(name, path, None if Path(path).is_dir() else extract_commit_hash(file, None))

    @property
    def public_name(self) -> str:
        """Its name without the folders of this machine."""
        return Path(self.path).resolve().name if Path(self.name).is_dir() else self.name


def load_tokenizer(source: Source, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a checkpoint; one without a padding token pads with its end token.

    Raises:
        InputError: There is none, or it knows no token to pad with.
    """
    with loading(source.name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            source.path, revision=source.commit or "main", trust_remote_code=trust_remote_code
        )
    # Without any of its files transformers makes an empty tokenizer from the configuration alone.
    names = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    missing_is_fine = {"_raise_exceptions_for_missing_entries": False}
    revision = source.commit or "main"
    if not any(cached_file(source.path, name, revision=revision, **missing_is_fine) for name in names):
        raise InputError(
            f"{source.name!r} holds no tokenizer ({', '.join(sorted(names))}), and without one every word would be "
            "unknown; save it there with tokenizer.save_pretrained."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise InputError(
            f"The tokenizer of {source.name!r} has neither a padding nor an end token, so texts cannot be put into "
            "one batch; give it a pad_token and save it again."
        )
    return tokenizer


def load_teacher(
    source: Source,
    models: ModelArguments,
    task: Task,
    tokenizer: PreTrainedTokenizerBase | None,
    args: DistillationTrainingArguments,
    auto_class: Any = AutoModelForSequenceClassification,
) -> tuple[PreTrainedModel, list[str]]:
    """The teacher as it was published, its head new where it fits the task no longer.

    Returns:
        The teacher, and the names of its weights that no checkpoint held: not empty only with ``finetune_teacher``.

    Raises:
        InputError: It cannot be loaded, was made for other labels, or has a head that was never trained.
    """
    teacher, untrained = load_classifier(
        source, task, tokenizer, args, models.trust_remote_code, models.finetune_teacher, auto_class
    )
    if models.finetune_teacher:
        return teacher, untrained
    if untrained:
        raise InputError(
            f"The teacher {source.name!r} has no trained head for this task (missing: {', '.join(untrained)}), so it "
            "would teach noise; name a fine-tuned teacher, or add --finetune_teacher to train it on the task first."
        )
    check_labels(teacher, task, f"teacher {source.name!r}")
    return teacher, []


def load_classifier(
    source: Source,
    task: Task,
    tokenizer: PreTrainedTokenizerBase | None,
    args: DistillationTrainingArguments,
    trust_remote_code: bool = False,
    new_head: bool = True,
    auto_class: Any = AutoModelForSequenceClassification,
) -> tuple[PreTrainedModel, list[str]]:
    """A classifier in fp32 and whole on every process.

    Args:
        source: Its checkpoint.
        task: Its labels are the head's where ``new_head`` is true.
        tokenizer: Tells which token is padding to a model of texts that does not know.
        args: The run; its seed draws the weights that the checkpoint lacks.
        trust_remote_code: Run code that the checkpoint brings along.
        new_head: Make the head fit the task; the checkpoint's stays where it fits already.
        auto_class: What loads it.

    Returns:
        The model, and the names of the weights that were drawn at random.
    """
    common: dict[str, Any] = {"revision": source.commit or "main", "trust_remote_code": trust_remote_code}
    with loading(source.name, "model"), whole_weights(args):
        config = AutoConfig.from_pretrained(source.path, **common)
        if new_head:
            fit_head(config, task)
        if tokenizer is not None and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id
        set_seed(args.seed)
        model, info = auto_class.from_pretrained(
            source.path,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=new_head,
            output_loading_info=True,
            **common,
        )
    if new_head and task.label_names is not None:
        reorder_labels(model, task.label_names)
    untrained = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    return model, untrained


def number_labels(model: PreTrainedModel, task: Task) -> None:
    """Number a model's classes as the task does; those without names of their own take the task's as they stand.

    Raises:
        InputError: They have names that are not the task's.
    """
    if task.label_names is not None:
        if are_placeholders(label_names(model)):
            _name_labels(model.config, task.label_names)
        else:
            reorder_labels(model, task.label_names)
    fit_head(model.config, task)


def check_labels(model: PreTrainedModel, task: Task, whose: str) -> list[int] | None:
    """Check that a model answers with the task's labels.

    Returns:
        For each of the task's classes the model's column, None if they are in the same order.

    Raises:
        InputError: It was made for another task.
    """
    learnt = getattr(model.config, "problem_type", None)
    if learnt is not None and learnt != task.problem_type:
        raise InputError(
            f"The {whose} was trained for {learnt} and the task {task.name!r} is {task.problem_type}, so its scores "
            "mean something else; name a model of the same task."
        )
    if task.label_names is None:
        if model.config.num_labels != 1:
            raise InputError(
                f"The {whose} tells {model.config.num_labels} classes apart and the task {task.name!r} asks for a "
                "score, one output; name a model of the same task."
            )
        return None
    try:
        return match_labels(task.label_names, label_names(model))
    except InputError:
        raise InputError(
            f"The {whose} was made for other labels than the task {task.name!r}: it has {label_names(model)}, the "
            f"task {task.label_names}; name a model of the same task, or correct id2label in its config."
        ) from None


@contextmanager
def whole_weights(args: DistillationTrainingArguments) -> Iterator[None]:
    """Load complete weights on every process.

    ZeRO-3 partitions a model while it loads, and FSDP's efficient loading leaves it empty on all processes but one;
    a student made from such a teacher would be empty too. Both are sharded after all, when training begins.
    """
    plugin = args.deepspeed_plugin
    efficient_loading = os.environ.pop("FSDP_CPU_RAM_EFFICIENT_LOADING", None)
    if plugin is not None:
        unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if efficient_loading is not None:
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = efficient_loading
        if plugin is not None:
            plugin.set_deepspeed_weakref()


@contextmanager
def loading(name: str, what: str) -> Iterator[None]:
    """Tell in one line what transformers takes a page for.

    Raises:
        InputError: What was done inside failed as loading fails.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        what_to_do = "name a folder written by save_pretrained, or a model of the Hub"
        if not Path(name).exists() and os.environ.get("HF_HUB_OFFLINE"):
            what_to_do = f"{name!r} is no folder here, and the Hub is switched off (HF_HUB_OFFLINE)"
        raise InputError(f"Could not load the {what} of {name!r} ({one_line(error)}); {what_to_do}.") from error


def fit_head(config: Any, task: Task) -> None:
    """Give a configuration the task's labels, unless it has them by name already, in whatever order."""
    config.problem_type = task.problem_type
    if task.label_names is None:
        config.num_labels = 1
        return
    current = [config.id2label.get(index, "") for index in range(config.num_labels)]
    if sorted(name.casefold() for name in current) != sorted(name.casefold() for name in task.label_names):
        _name_labels(config, task.label_names)


def _name_labels(config: Any, names: list[str]) -> None:
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
