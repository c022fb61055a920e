"""One objective per file, what counts in a batch, and the weighted sum that names its terms."""

from .binary_soft_target_loss import binary_soft_target_loss
from .hard_target_loss import hard_target_loss
from .hidden_state_loss import hidden_state_loss
from .objective import DistillationObjective
from .problem_type import ProblemType
from .soft_score_loss import soft_score_loss
from .soft_target_loss import soft_target_loss

__all__ = [
    "DistillationObjective",
    "ProblemType",
    "binary_soft_target_loss",
    "hard_target_loss",
    "hidden_state_loss",
    "soft_score_loss",
    "soft_target_loss",
]
