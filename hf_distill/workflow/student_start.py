"""What the student of a run starts from."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, set_seed

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments
from hf_distill.arguments.model_arguments import CNN
from hf_distill.students import create_student
from hf_distill.tasks import Task
from hf_distill.workflow.models import Source, check_labels, number_labels, whole_weights

_CALIBRATION_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class StudentStart(ABC):
    """Makes the student as often as it is needed, always the same from the same teacher.

    Attributes:
        models: The arguments that describe it.
        task: Its labels are the head's; its training rows tell a narrower student what matters.
        args: The run; its seed draws what is random.
        source: Its checkpoint or configuration; None if it starts from the teacher's layers.
    """

    models: ModelArguments
    task: Task
    args: DistillationTrainingArguments
    source: Source | None

    @staticmethod
    def find_source(models: ModelArguments) -> Source | None:
        """Where the student's checkpoint or configuration is, if one is named.

        Raises:
            InputError: There is no such model.
        """
        name = models.student_name_or_path or models.student_config_name_or_path
        return None if name is None else Source.find(name, models.student_revision)

    def student(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student before training, its classes numbered as the task's.

        Args:
            teacher: The first one, as it will teach.

        Raises:
            InputError: The layers, widths, checkpoint or configuration cannot be had.
        """
        if self.models.student_architecture == CNN:
            student = self._cnn(teacher)
            number_labels(student, self.task)
            return student
        if self.source is None:
            return self._from_layers(teacher)
        if self.models.student_name_or_path is not None:
            return self._checkpoint(self.source)
        return self._from_config(self.source, teacher)

    def described(self) -> str:
        """In words, for the report."""
        models = self.models
        if models.student_name_or_path is not None:
            return models.student_name_or_path
        if models.student_config_name_or_path is not None:
            return f"{self._weights_of_a_config()} in the shape of {models.student_config_name_or_path}"
        if models.student_architecture == CNN:
            return self._described_cnn()
        return {
            "teacher": "the teacher's layers",
            "pretrained": "the teacher's layers before its fine-tuning",
            "random": "random weights in the teacher's layers",
        }[models.student_init]

    @abstractmethod
    def _cnn(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """A convolutional network."""

    @abstractmethod
    def _described_cnn(self) -> str:
        """In words."""

    @abstractmethod
    def _checkpoint(self, source: Source) -> PreTrainedModel:
        """A model with weights of its own."""

    @abstractmethod
    def _from_config(self, source: Source, teacher: PreTrainedModel) -> PreTrainedModel:
        """The model that a configuration alone describes."""

    @abstractmethod
    def _weights_of_a_config(self) -> str:
        """In words, what such a model starts with."""

    @abstractmethod
    def _inputs(self, rows: Task, teacher: PreTrainedModel) -> dict[str, Any]:
        """A batch of all training rows of a task as the teacher reads them, with labels."""

    def _needs_calibration(self) -> bool:
        """Weights that are thrown away need not be chosen well."""
        return bool(self.models.student_widths) and self.models.student_init != "random"

    def _from_layers(self, teacher: PreTrainedModel) -> PreTrainedModel:
        models = self.models
        student = create_student(
            teacher,
            models.num_layers,
            models.layers,
            models.layer_selection,
            architecture=models.student_architecture,
            **models.student_widths,
            calibration=self._calibration(teacher) if self._needs_calibration() else None,
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
        batch = self._inputs(dataclasses.replace(self.task, train=rows, evaluation={}), teacher)
        columns = check_labels(teacher, self.task, "teacher")
        if columns is not None:
            order = torch.tensor(columns)
            labels = batch["labels"]
            batch["labels"] = order[labels] if labels.dim() == 1 else labels[:, order.argsort()]
        return batch
