"""A student beside its teacher: score, retention, agreement, size and speed in one report."""

from hf_distill.evaluation.comparison import Comparison, compare
from hf_distill.evaluation.environment import environment
from hf_distill.evaluation.prediction import predict_logits
from hf_distill.evaluation.report import DistillationReport, ModelFigures

__all__ = [
    "Comparison",
    "DistillationReport",
    "ModelFigures",
    "compare",
    "environment",
    "predict_logits",
]
