"""Distil Hugging Face transformers into smaller, faster students."""

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Relations,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
)
from hf_distill.objectives.stages import needs_of_teacher
from hf_distill.students import create_image_cnn, create_student, create_text_cnn
from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.sparse_sampling import SparseSampling
from hf_distill.trainer import DistillationTrainer
from hf_distill.version import __version__

__all__ = [
    "AttentionTransfer",
    "CachedTeacher",
    "Contrast",
    "DistillationObjective",
    "DistillationTrainer",
    "DistillationTrainingArguments",
    "HardTargets",
    "HiddenStates",
    "Relations",
    "Schedule",
    "SoftTargets",
    "SparseSampling",
    "Stage",
    "Stages",
    "TeacherEnsemble",
    "__version__",
    "cache_teacher_outputs",
    "create_image_cnn",
    "create_student",
    "create_text_cnn",
    "needs_of_teacher",
]
