"""Does it help? Variants of a run, each trained with several seeds from one teacher, side by side."""

from hf_distill.ablation.ablation_run import AblationRun

__all__ = ["AblationRun"]
