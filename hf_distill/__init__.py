"""Distil Hugging Face transformers into smaller, faster students."""

from .arguments import DistillationTrainingArguments
try:
    from .students import create_student
except ImportError: pass
from .trainer import DistillationTrainer
from .version import __version__

__all__ = ["DistillationTrainer", "DistillationTrainingArguments", "__version__", "create_student"]
