"""Search temperature, weights and learning rate: one teacher answers once, and many students learn from that."""

from hf_distill.sweep.sweep_run import SweepRun

__all__ = ["SweepRun"]
