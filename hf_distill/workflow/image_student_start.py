"""What a student for images starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForImageClassification, BaseImageProcessor, PreTrainedModel

from hf_distill.students.cnn import create_image_cnn
from hf_distill.tasks import Task
from hf_distill.workflow.image_data import image_shape, prepare_images
from hf_distill.workflow.image_models import build_image_classifier
from hf_distill.workflow.models import Source, load_classifier
from hf_distill.workflow.student_start import StudentStart


@dataclass(frozen=True, kw_only=True)
class ImageStudentStart(StudentStart):
    """Makes a student for images.

    Attributes:
        processor: Makes the pixels that both models see.
    """

    processor: BaseImageProcessor

    def _cnn(self, teacher: PreTrainedModel) -> PreTrainedModel:
        models = self.models
        width = {} if models.student_hidden_size is None else {"hidden_size": models.student_hidden_size}
        _, *size = image_shape(self.task, self.processor)
        return create_image_cnn(teacher, models.num_layers or 6, **width, image_size=size, seed=self.args.seed)

    def _described_cnn(self) -> str:
        return "a convolutional network with random weights"

    def _checkpoint(self, source: Source) -> PreTrainedModel:
        trust, auto_class = self.models.trust_remote_code, AutoModelForImageClassification
        return load_classifier(source, self.task, None, self.args, trust, auto_class=auto_class)[0]

    def _from_config(self, source: Source, teacher: PreTrainedModel) -> PreTrainedModel:
        return build_image_classifier(source, self.task, self.args, self.models.trust_remote_code)

    def _weights_of_a_config(self) -> str:
        return "random weights"

    def _inputs(self, rows: Task, teacher: PreTrainedModel) -> dict[str, Any]:
        data = prepare_images(rows, self.processor)
        return dict(data.collator(list(data.train)))

    def _needs_calibration(self) -> bool:
        """Always for widths: the embeddings of patches do not tell which directions matter, as those of tokens do."""
        return bool(self.models.student_widths)
