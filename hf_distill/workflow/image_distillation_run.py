"""A whole run on images."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import BaseImageProcessor, PreTrainedModel

from hf_distill.arguments import TeacherCacheArguments
from hf_distill.tasks import Task
from hf_distill.tasks.images import load_image_task
from hf_distill.workflow.data import TaskData
from hf_distill.workflow.image_student_start import ImageStudentStart
from hf_distill.workflow.image_teaching import ImageTeaching
from hf_distill.workflow.run import Run


class ImageDistillationRun(Run):
    """From arguments to a student for images that stands beside its teacher in a report.

    A teacher that is a configuration alone is trained from nothing.
    """

    pipeline: ClassVar[str] = "image-classification"
    teaching: ImageTeaching
    start: ImageStudentStart
    tokenizer: BaseImageProcessor

    def _load_task(self) -> Task:
        return load_image_task(self.data_arguments)

    def _find_models(
        self, task: Task, cache: TeacherCacheArguments
    ) -> tuple[ImageTeaching, ImageStudentStart, BaseImageProcessor]:
        teaching = ImageTeaching(self.models, cache, self.args, task)
        processor, source = teaching.first.tokenizer, ImageStudentStart.find_source(self.models)
        start = ImageStudentStart(models=self.models, task=task, args=self.args, source=source, processor=processor)
        return teaching, start, processor

    def _prepare_rows(self, student: PreTrainedModel) -> TaskData:
        return self.teaching.prepare_rows(student)

    def _example(self) -> Any:
        return "an-image.png"
