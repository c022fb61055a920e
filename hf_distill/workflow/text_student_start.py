"""What a student for texts starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
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
from hf_distill.errors import InputError
from hf_distill.students import copy_embeddings
from hf_distill.students.cnn import create_text_cnn
from hf_distill.tasks import Task
from hf_distill.workflow.data import ReadingNeeds, prepare_data
from hf_distill.workflow.models import (
    Source,
    fit_head,
    load_classifier,
    load_tokenizer,
    loading,
    number_labels,
    whole_weights,
)
from hf_distill.workflow.student_start import StudentStart

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TextStudentStart(StudentStart):
    """Makes a student for texts.

    Attributes:
        max_seq_length: Longer texts are cut there.
        tokenizer: The student's.
        teacher_tokenizer: The first teacher's, perhaps the same object.
    """

    max_seq_length: int
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
    ) -> TextStudentStart:
        """Find checkpoint, configuration and tokenizer; a configuration without one shares the teacher's.

        Raises:
            InputError: There is no such model, or no tokenizer beside a checkpoint.
        """
        source, tokenizer = cls.find_source(models), teacher_tokenizer
        if source is not None and (models.student_name_or_path is not None or _has_tokenizer(source)):
            tokenizer = load_tokenizer(source, models.trust_remote_code)
        return cls(
            models=models,
            task=task,
            args=args,
            source=source,
            max_seq_length=max_seq_length,
            tokenizer=tokenizer,
            teacher_tokenizer=teacher_tokenizer,
        )

    def _cnn(self, teacher: PreTrainedModel) -> PreTrainedModel:
        size = self.models.student_hidden_size
        return create_text_cnn(teacher, self.models.num_layers or 6, size, seed=self.args.seed)

    def _described_cnn(self) -> str:
        return "the teacher's token embeddings under a convolutional network"

    def _checkpoint(self, source: Source) -> PreTrainedModel:
        return load_classifier(source, self.task, self.tokenizer, self.args, self.models.trust_remote_code)[0]

    def _from_config(self, source: Source, teacher: PreTrainedModel) -> PreTrainedModel:
        models = self.models
        student = _build_classifier(source, self.task, self.tokenizer, self.args, models.trust_remote_code)
        if models.student_init != "random":
            copied = copy_embeddings(student, teacher, self.tokenizer, self.teacher_tokenizer)
            logger.info(f"The student starts at random, but for {copied:,} token embeddings of its teacher.")
        return student

    def _weights_of_a_config(self) -> str:
        return "the teacher's token embeddings" if self.models.student_init != "random" else "random weights"

    def _inputs(self, rows: Task, teacher: PreTrainedModel) -> dict[str, Any]:
        data = prepare_data(rows, self.teacher_tokenizer, self.max_seq_length, [ReadingNeeds.of(teacher)])
        return dict(data.collator(list(data.train)))


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
