"""What the student of a run starts from."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.tokenization_utils_base import FULL_TOKENIZER_FILE, TOKENIZER_CONFIG_FILE
from transformers.utils import cached_file, logging

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.arguments.model_arguments import CNN
from hf_distill.errors import InputError
from hf_distill.students import copy_embeddings, create_student
from hf_distill.students.cnn import create_text_cnn
from hf_distill.tasks import Task
from hf_distill.workflow.data import ReadingNeeds, prepare_data
from hf_distill.workflow.models import (
    Source,
    check_labels,
    fit_head,
    load_classifier,
    load_tokenizer,
    loading,
    number_labels,
    whole_weights,
)

logger = logging.get_logger(__name__)

_CALIBRATION_ROWS = 64


@dataclass(frozen=True)
class StudentStart:
    """Makes the student as often as it is needed, always the same from the same teacher.

    Attributes:
        models: The arguments that describe it.
        task: Its labels are the head's; its training rows tell a narrower student what matters.
        args: The run; its seed draws what is random.
        max_seq_length: Longer texts are cut there.
        source: Its checkpoint or configuration; None if it starts from the teacher's layers.
        tokenizer: The student's.
        teacher_tokenizer: The first teacher's, perhaps the same object.
    """

    models: ModelArguments
    task: Task
    args: DistillationTrainingArguments
    max_seq_length: int
    source: Source | None
    tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase

    @classmethod
    def find(
        cls,
        models: ModelArguments,
        task: Task,
        args: DistillationTrainingArguments,
        max_seq_length: int,
        teacher_tokenizer: PreTrainedTokenizerBase,
    ) -> StudentStart:
        """Find checkpoint, configuration and tokenizer; a configuration without one shares the teacher's.

        Raises:
            InputError: There is no such model, or no tokenizer beside a checkpoint.
        """
        source, tokenizer = None, teacher_tokenizer
        name = models.student_name_or_path or models.student_config_name_or_path
        if name is not None:
            source = Source.find(name, models.student_revision)
            if models.student_name_or_path is not None or _has_tokenizer(source):
                tokenizer = load_tokenizer(source, models.trust_remote_code)
        return cls(models, task, args, max_seq_length, source, tokenizer, teacher_tokenizer)

    def student(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student before training, its classes numbered as the task's.

        Args:
            teacher: The first one, as it will teach.

        Raises:
            InputError: The layers, widths, checkpoint or configuration cannot be had.
        """
        models, task, args = self.models, self.task, self.args
        if models.student_architecture == CNN:
            return self._cnn(teacher)
        if self.source is None:
            return self._from_layers(teacher)
        if models.student_name_or_path is not None:
            return load_classifier(self.source, task, self.tokenizer, args, models.trust_remote_code)[0]
        student = _build_classifier(self.source, task, self.tokenizer, args, models.trust_remote_code)
        if models.student_init != "random":
            copied = copy_embeddings(student, teacher, self.tokenizer, self.teacher_tokenizer)
            logger.info(f"The student starts at random, but for {copied:,} token embeddings of its teacher.")
        return student

    def described(self) -> str:
        """In words, for the report."""
        models = self.models
        if models.student_name_or_path is not None:
            return models.student_name_or_path
        if models.student_config_name_or_path is not None:
            weights = "the teacher's token embeddings" if models.student_init != "random" else "random weights"
            return f"{weights} in the shape of {models.student_config_name_or_path}"
        if models.student_architecture == CNN:
            return "the teacher's token embeddings under a convolutional network"
        return {
            "teacher": "the teacher's layers",
            "pretrained": "the teacher's layers before its fine-tuning",
            "random": "random weights in the teacher's layers",
        }[models.student_init]

    def _cnn(self, teacher: PreTrainedModel) -> PreTrainedModel:
        size = self.models.student_hidden_size
        student = create_text_cnn(teacher, self.models.num_layers or 6, size, seed=self.args.seed)
        number_labels(student, self.task)
        return student

    def _from_layers(self, teacher: PreTrainedModel) -> PreTrainedModel:
        models = self.models
        chooses = bool(models.student_widths) and models.student_init != "random"
        student = create_student(
            teacher,
            models.num_layers,
            models.layers,
            models.layer_selection,
            architecture=models.student_architecture,
            **models.student_widths,
            calibration=self._calibration(teacher) if chooses else None,
        )
        if models.student_init == "random":
            student = self._redrawn(student)
        number_labels(student, self.task)
        return student

    def _redrawn(self, student: PreTrainedModel) -> PreTrainedModel:
        config = copy.deepcopy(student.config)
        del config.distilled_from_layers
        with whole_weights(self.args):
            set_seed(self.args.seed)
            return type(student)(config)

    def _calibration(self, teacher: PreTrainedModel) -> dict[str, Tensor]:
        """Some labelled rows as the teacher reads them, with its own numbers for the classes."""
        rows = self.task.train.shuffle(seed=self.args.seed)
        rows = rows.select(range(min(_CALIBRATION_ROWS, len(rows))))
        some = dataclasses.replace(self.task, train=rows, evaluation={})
        data = prepare_data(some, self.teacher_tokenizer, self.max_seq_length, [ReadingNeeds.of(teacher)])
        batch: dict[str, Any] = dict(data.collator(list(data.train)))
        columns = check_labels(teacher, self.task, "teacher")
        if columns is not None:
            order = torch.tensor(columns)
            labels = batch["labels"]
            batch["labels"] = order[labels] if labels.dim() == 1 else labels[:, order.argsort()]
        return batch


def _build_classifier(
    source: Source,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    args: DistillationTrainingArguments,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """The sequence classifier that a configuration alone describes, with the task's labels and random weights.

    Args:
        source: Its configuration; weights beside it are left alone.
        task: Its labels are the head's.
        tokenizer: Whose ids it is to read.
        args: The run; its seed draws the weights.
        trust_remote_code: Run code that the configuration brings along.

    Raises:
        InputError: It cannot be built, or has fewer tokens than the tokenizer.
    """
    common: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    with loading(source.name, "configuration"), whole_weights(args):
        config = AutoConfig.from_pretrained(source.path, revision=source.commit or "main", **common)
        fit_head(config, task)
        if tokenizer.pad_token_id is not None:
            config.pad_token_id = tokenizer.pad_token_id
        largest = max(tokenizer.get_vocab().values())
        if largest >= config.vocab_size:
            raise InputError(
                f"The tokenizer's ids go up to {largest} and the configuration {source.name!r} has vocab_size "
                f"{config.vocab_size}; set it to {largest + 1} or more, or put the student's own tokenizer beside it."
            )
        set_seed(args.seed)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32, **common)
    number_labels(model, task)
    return model


def _has_tokenizer(source: Source) -> bool:
    missing_is_fine: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False}
    names = (FULL_TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, "vocab.txt", "vocab.json")
    return any(cached_file(source.path, name, revision=source.commit or "main", **missing_is_fine) for name in names)
