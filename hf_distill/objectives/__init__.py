"""What a student learns from: named, weighted terms, their schedules and their stages."""

from hf_distill.objectives.attention import AttentionTransfer
from hf_distill.objectives.contrast import Contrast
from hf_distill.objectives.hard_targets import HardTargets
from hf_distill.objectives.hidden_states import HiddenStates
from hf_distill.objectives.objective import DistillationObjective
from hf_distill.objectives.relations import Relations
from hf_distill.objectives.soft_targets import SoftTargets
from hf_distill.objectives.stages import Stage, Stages
from hf_distill.objectives.term import Term
from hf_distill.schedules import Schedule

__all__ = [
    "AttentionTransfer",
    "Contrast",
    "DistillationObjective",
    "HardTargets",
    "HiddenStates",
    "Relations",
    "Schedule",
    "SoftTargets",
    "Stage",
    "Stages",
    "Term",
]
