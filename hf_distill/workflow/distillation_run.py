"""A whole run on texts."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.arguments import TeacherCacheArguments
from hf_distill.tasks import Task, load_task
from hf_distill.workflow.data import TaskData, shown_example
from hf_distill.workflow.run import Run
from hf_distill.workflow.text_student_start import TextStudentStart
from hf_distill.workflow.text_teaching import TextTeaching


class DistillationRun(Run):
    """From arguments to a student for texts that stands beside its teacher in a report."""

    pipeline: ClassVar[str] = "text-classification"
    teaching: TextTeaching
    start: TextStudentStart
    tokenizer: PreTrainedTokenizerBase

    def _load_task(self) -> Task:
        return load_task(self.data_arguments, with_unlabelled=True)

    def _find_models(
        self, task: Task, cache: TeacherCacheArguments
    ) -> tuple[TextTeaching, TextStudentStart, PreTrainedTokenizerBase]:
        teaching, longest = TextTeaching(self.models, cache, self.args, task), self.data_arguments.max_seq_length
        start = TextStudentStart.find(self.models, task, self.args, longest, teaching.first.tokenizer)
        return teaching, start, start.tokenizer

    def _prepare_rows(self, student: PreTrainedModel) -> TaskData:
        return self.teaching.prepare_rows(student, self.tokenizer, self.data_arguments.max_seq_length)

    def _example(self) -> Any:
        return shown_example(self.data.task)
