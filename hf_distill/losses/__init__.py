"""One objective per file, what counts in a batch, and the weighted sum that names its terms."""

from hf_distill.losses.binary_soft_target_loss import binary_soft_target_loss
from hf_distill.losses.hard_target_loss import hard_target_loss
from hf_distill.losses.hidden_state_loss import hidden_state_loss
from hf_distill.losses.mean_teacher_logits import mean_teacher_logits
from hf_distill.losses.objective import DistillationObjective
from hf_distill.losses.soft_score_loss import soft_score_loss
from hf_distill.losses.soft_target_loss import soft_target_loss
from hf_distill.losses.sparse_soft_target_loss import sparse_soft_target_loss
from hf_distill.problem_type import ProblemType

__all__ = [
    "DistillationObjective",
    "ProblemType",
    "binary_soft_target_loss",
    "hard_target_loss",
    "hidden_state_loss",
    "mean_teacher_logits",
    "soft_score_loss",
    "soft_target_loss",
    "sparse_soft_target_loss",
]
