"""One objective per file, what counts in a batch, and the weighted sum that names its terms."""

from hf_distill.losses.angle_relation_loss import angle_relation_loss
from hf_distill.losses.attention_probability_loss import attention_probability_loss
from hf_distill.losses.attention_score_loss import attention_score_loss
from hf_distill.losses.cosine_hidden_state_loss import cosine_hidden_state_loss
from hf_distill.losses.distance_relation_loss import distance_relation_loss
from hf_distill.losses.hard_target_loss import hard_target_loss
from hf_distill.losses.inter_class_loss import inter_class_loss
from hf_distill.losses.intra_class_loss import intra_class_loss
from hf_distill.losses.jensen_shannon_loss import jensen_shannon_loss
from hf_distill.losses.logit_mse_loss import logit_mse_loss
from hf_distill.losses.mean_teacher_logits import mean_teacher_logits
from hf_distill.losses.mse_hidden_state_loss import mse_hidden_state_loss
from hf_distill.losses.normalised_hidden_state_loss import normalised_hidden_state_loss
from hf_distill.losses.relation_loss import relation_loss
from hf_distill.losses.reverse_soft_target_loss import reverse_soft_target_loss
from hf_distill.losses.similarity_preserving_loss import similarity_preserving_loss
from hf_distill.losses.soft_score_loss import soft_score_loss
from hf_distill.losses.soft_target_loss import soft_target_loss
from hf_distill.losses.sparse_soft_target_loss import sparse_soft_target_loss
from hf_distill.problem_type import ProblemType

__all__ = [
    "ProblemType",
    "angle_relation_loss",
    "attention_probability_loss",
    "attention_score_loss",
    "cosine_hidden_state_loss",
    "distance_relation_loss",
    "hard_target_loss",
    "inter_class_loss",
    "intra_class_loss",
    "jensen_shannon_loss",
    "logit_mse_loss",
    "mean_teacher_logits",
    "mse_hidden_state_loss",
    "normalised_hidden_state_loss",
    "relation_loss",
    "reverse_soft_target_loss",
    "similarity_preserving_loss",
    "soft_score_loss",
    "soft_target_loss",
    "sparse_soft_target_loss",
]
