"""The labels as targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.hard_target_loss import hard_target_loss
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.term import Term
from hf_distill.problem_type import ProblemType
from hf_distill.signals import Signals


@dataclass(frozen=True, kw_only=True)
class HardTargets(Term):
    """The task's own loss against the labels, and the whole of ``eval_loss``.

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes, for exclusive classes only.
    """

    name: str = "hard_target_loss"
    label_smoothing: float = 0.0
    looks_at_teacher: ClassVar[bool] = False

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """Average over the labels.

        Raises:
            InputError: There are no labels, or labels cannot be smoothed.
        """
        if batch.labels is None or batch.counted.targets is None:
            raise InputError(
                "The rows have no `labels`, which hard_target_weight > 0 needs: label them, or set "
                "hard_target_weight to 0 to learn from the teacher's soft targets alone."
            )
        if self.label_smoothing > 0 and batch.problem_type is not ProblemType.SINGLE_LABEL:
            raise InputError(
                f"label_smoothing_factor is {self.label_smoothing} and the task is {batch.problem_type.value}, which "
                "has no exclusive classes to spread a label over; set it to 0."
            )
        values = hard_target_loss(student.dense_logits, batch.labels, batch.problem_type, self.label_smoothing)
        return batch.average_over_targets(values)
