"""What a training is about to do, told before it begins."""

from hf_distill.checking.background import Background
from hf_distill.checking.check import check
from hf_distill.checking.report import CheckReport

__all__ = ["Background", "CheckReport", "check"]
