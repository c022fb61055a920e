"""The teachers of a run on texts, each with a tokenizer of its own."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.teachers.pairing import read_alike
from hf_distill.workflow.data import ReadingNeeds, TaskData, prepare_data
from hf_distill.workflow.models import Source, load_classifier, load_teacher, load_tokenizer
from hf_distill.workflow.teaching import Teaching, TeachingModel

_SAMPLE = 256
"""Rows by which tokenizers are compared."""


class TextTeaching(Teaching):
    """Teachers that read texts, in the student's words or in others."""

    def prepare_rows(
        self, student: PreTrainedModel, student_tokenizer: PreTrainedTokenizerBase, max_seq_length: int
    ) -> TaskData:
        """Check every teacher against the student, and tokenize the task for all of them.

        Args:
            student: As it will be trained.
            student_tokenizer: Its own.
            max_seq_length: Longer texts are cut there.

        Returns:
            The student's rows, with the inputs of the teachers that read texts as it does.

        Raises:
            InputError: One of them cannot teach this student, or its answers cannot be kept where they are to be.
        """
        sample = self.task.train[:_SAMPLE]
        texts = (sample["text"], sample.get("text_pair"))
        alike = [teacher for teacher in self.teachers if read_alike(student_tokenizer, teacher.tokenizer, *texts)]
        self._decide_when_to_answer(needs_cache=len(alike) < len(self.teachers))
        needs = [ReadingNeeds.of(self._check_against(student, teacher)) for teacher in self.teachers]
        needs_of_alike = [need for teacher, need in zip(self.teachers, needs, strict=True) if teacher in alike]
        tokenizers = [*(teacher.tokenizer for teacher in alike), student_tokenizer]
        has_types = (tokenizer for tokenizer in tokenizers if "token_type_ids" in tokenizer.model_input_names)
        reader = next(has_types, tokenizers[0])
        data = prepare_data(self.task, reader, max_seq_length, [ReadingNeeds.of(student), *needs_of_alike])
        student_tokenizer.model_max_length = reader.model_max_length
        for teacher, need in zip(self.teachers, needs, strict=True):
            teacher.data = data
            if teacher not in alike:
                teacher.data = prepare_data(self.task, teacher.tokenizer, max_seq_length, [need])
        self._all_read_alike = len(alike) == len(self.teachers)
        return data

    def load_finished(self, source: Source, tokenizer: Any) -> PreTrainedModel:
        """A classifier of the task's texts in fp32, as it was saved, ready to answer."""
        trust = self.models.trust_remote_code
        model, _ = load_classifier(source, self.task, tokenizer, self.args, trust, new_head=False)
        return model.eval().to(self.args.device)

    @property
    def described_reading(self) -> str:
        """How the tokenizers compare, in words."""
        if self._all_read_alike:
            return f"the same in all: vocabulary, and the tokens of {min(_SAMPLE, len(self.task.train))} texts"
        return "a teacher has another (vocabulary, case or special tokens) and reads the texts with its own"

    def _load_reader(self, source: Source) -> PreTrainedTokenizerBase:
        return load_tokenizer(source, self.models.trust_remote_code)

    def _load_with_head(self, teacher: TeachingModel) -> tuple[PreTrainedModel, list[str]]:
        return load_teacher(teacher.source, self.models, self.task, teacher.tokenizer, self.args)
