"""Distil Hugging Face transformers into smaller, faster students."""

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.students import create_student
from hf_distill.trainer import DistillationTrainer
from hf_distill.version import __version__

__all__ = ["DistillationTrainer", "DistillationTrainingArguments", "__version__", "create_student"]
