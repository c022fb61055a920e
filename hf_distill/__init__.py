"""Distil Hugging Face transformers into smaller, faster students."""

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.students import create_student
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.sparse_sampling import SparseSampling
from hf_distill.trainer import DistillationTrainer
from hf_distill.version import __version__

__all__ = [
    "CachedTeacher",
    "DistillationTrainer",
    "DistillationTrainingArguments",
    "SparseSampling",
    "TeacherEnsemble",
    "__version__",
    "cache_teacher_outputs",
    "create_student",
]
