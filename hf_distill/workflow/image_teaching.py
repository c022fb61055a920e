"""The teacher of a run on images."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForImageClassification, BaseImageProcessor, PreTrainedModel

from hf_distill.arguments import DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives import Contrast
from hf_distill.tasks import Task
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.image_data import check_channels, load_image_processor, prepare_images
from hf_distill.workflow.image_models import load_image_teacher
from hf_distill.workflow.models import Source, load_classifier
from hf_distill.workflow.teaching import Teaching, TeachingModel, in_memory


class ImageTeaching(Teaching):
    """One teacher, whose image processor the student shares."""

    def __init__(
        self, models: ModelArguments, cache: TeacherCacheArguments, args: DistillationTrainingArguments, task: Task
    ) -> None:
        teachers = len(models.teacher_names)
        if teachers > 1:
            raise InputError(f"There are {teachers} teachers, and images have one teacher; name one.")
        super().__init__(models, cache, args, task)

    def prepare_rows(self, student: PreTrainedModel) -> TaskData:
        """Check the teacher against the student, and turn the task's images into pixels.

        Args:
            student: As it will be trained.

        Raises:
            InputError: It cannot teach this student, or its answers cannot be kept where they are to be.
        """
        teacher = in_memory(self.first)
        for model, whose in ((teacher, f"teacher {self.first.source.name!r}"), (student, "student")):
            check_channels(model, whose)
            self._check_objective(model, whose)
        self._decide_when_to_answer()
        self._check_against(student, self.first)
        self.first.data = prepare_images(self.task, self.first.tokenizer)
        return self.first.data

    def load_finished(self, source: Source, tokenizer: Any) -> PreTrainedModel:
        """A classifier of the task's images in fp32, as it was saved, ready to answer."""
        trust, auto_class = self.models.trust_remote_code, AutoModelForImageClassification
        model, _ = load_classifier(source, self.task, None, self.args, trust, new_head=False, auto_class=auto_class)
        return model.eval().to(self.args.device)

    @property
    def described_reading(self) -> str:
        """Nothing: student and teacher share the image processor."""
        return ""

    def _load_reader(self, source: Source) -> BaseImageProcessor:
        return load_image_processor(source, self.models.trust_remote_code)

    def _load_with_head(self, teacher: TeachingModel) -> tuple[PreTrainedModel, list[str]]:
        return load_image_teacher(teacher.source, self.models, self.task, self.args)

    def _check_objective(self, model: PreTrainedModel, whose: str) -> None:
        """Check that the terms can look into a model; one without attention heads is a convolutional network."""
        objective = self.args.objective()
        if ModelShape.of(model).attention_heads is not None:
            return
        if objective.aligns_tokens:
            raise InputError(
                f"The {whose} is a convolutional network ({type(model).__name__}), which has maps inside and no "
                "tokens to compare one by one; set hidden_state_weight, attention_weight and relation_weight to 0. "
                "contrast_weight may stay above 0."
            )
        terms = [term for objective in objective.objectives for term in objective.terms]
        if any(isinstance(term, Contrast) and term.pooling == "first" for term in terms):
            raise InputError(
                f"contrast_pooling is first, and the {whose} is a convolutional network ({type(model).__name__}), "
                "whose maps have no first token; set it to mean."
            )
