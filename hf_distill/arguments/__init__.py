"""What a run is told: which models, which data, how to train. Every value is checked before anything is loaded."""

from hf_distill.arguments.ablation_arguments import AblationArguments
from hf_distill.arguments.data_arguments import DataArguments
from hf_distill.arguments.model_arguments import ModelArguments, StudentArguments
from hf_distill.arguments.sweep_arguments import SweepArguments
from hf_distill.arguments.teacher_cache_arguments import TeacherCacheArguments
from hf_distill.arguments.training_arguments import (
    DistillationTrainingArguments,
    FineTuningArguments,
    RunArguments,
)

__all__ = [
    "AblationArguments",
    "DataArguments",
    "DistillationTrainingArguments",
    "FineTuningArguments",
    "ModelArguments",
    "RunArguments",
    "StudentArguments",
    "SweepArguments",
    "TeacherCacheArguments",
]
