"""The teacher's answers as targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.confidence import confidence
from hf_distill.losses.inter_class_loss import inter_class_loss
from hf_distill.losses.intra_class_loss import intra_class_loss
from hf_distill.losses.jensen_shannon_loss import jensen_shannon_loss
from hf_distill.losses.logit_mse_loss import logit_mse_loss
from hf_distill.losses.mean_teacher_logits import teacher_logits
from hf_distill.losses.reverse_soft_target_loss import reverse_soft_target_loss
from hf_distill.losses.soft_score_loss import soft_score_loss
from hf_distill.losses.soft_target_loss import soft_target_loss
from hf_distill.losses.sparse_soft_target_loss import sparse_soft_target_loss
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.term import Term
from hf_distill.objectives.whole_step import Examples
from hf_distill.problem_type import ProblemType
from hf_distill.schedules import Schedule, extremes, value_at
from hf_distill.signals import Signals, SparseLogits

SOFT_TARGET_LOSSES = ("forward_kl", "reverse_kl", "jensen_shannon", "mse", "dist")


@dataclass(frozen=True, kw_only=True)
class SoftTargets(Term):
    """The distance between the two models' answers, softened by a temperature.

    Several labels at once are each a distribution over on and off; a score is compared by its squared error, whatever
    the loss. Answers to examples without a label count too.

    Attributes:
        temperature: Above 0, or a :class:`Schedule` of that.
        loss: ``forward_kl``, Hinton's; ``reverse_kl``, which seeks the teacher's modes; ``jensen_shannon``, between
            the two; ``mse`` of the logits, which knows no temperature; or ``dist``, the correlations between the
            classes of an answer and between the answers of a class.
        beta: Of ``jensen_shannon``, between 0 and 1: the teacher's share of the mixture.
        weigh_by_confidence: Multiply each answer's distance by the largest probability that the teacher gives, at
            temperature 1.

    Raises:
        InputError: A setting is out of range.

    Example:
        >>> SoftTargets(weight=0.5, temperature=4.0, loss="jensen_shannon").name
        'soft_target_loss'
    """

    name: str = "soft_target_loss"
    temperature: float | Schedule = 2.0
    loss: str = "forward_kl"
    beta: float = 0.5
    weigh_by_confidence: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        smallest, largest = extremes(self.temperature)
        if not (smallest > 0 and largest < float("inf")):
            raise InputError(
                f"temperature is {self.temperature}, and scores cannot be divided by that; use a number above 0, "
                "usually 1 to 10."
            )
        if self.loss not in SOFT_TARGET_LOSSES:
            raise InputError(f"soft_target_loss is {self.loss!r}; use one of {', '.join(SOFT_TARGET_LOSSES)}.")
        if self.loss == "dist" and self.weigh_by_confidence:
            raise InputError(
                "weigh_by_confidence is set and soft_target_loss is dist, which compares the answers with one another "
                "and has no distance of each to weigh; leave one of them out."
            )
        if not 0 < self.beta < 1:
            raise InputError(
                f"jensen_shannon_beta is {self.beta}, the teacher's share of a mixture; use a number between 0 and 1."
            )

    @property
    def compares_examples(self) -> bool:
        """DIST compares the probabilities of a class over the examples."""
        return self.loss == "dist"

    def __call__(self, student: Signals, teacher: Signals, batch: MicroBatch) -> Tensor:
        """Average over the answers that count; see :meth:`MicroBatch.average_over_answers`.

        Raises:
            InputError: The two differ in shape, or the loss does not fit the problem or the teacher's answers.
        """
        self.check_problem(batch.problem_type)
        if teacher.sparse is not None:
            values = self._sparse_values(student.dense_logits, teacher.sparse, batch.problem_type)
            return batch.average_over_answers(values)
        logits = self._teacher_logits(teacher, batch.problem_type)
        _check_equal_shapes(student.dense_logits, logits)
        if self.loss == "dist":
            return self._dist(student.dense_logits, logits, batch)
        values = self._values(student.dense_logits, logits, batch.problem_type)
        if self.weigh_by_confidence:
            values = values * self._confidence(teacher, batch.problem_type)
        return batch.average_over_answers(values)

    @property
    def _temperature(self) -> float:
        return value_at(self.temperature, 0.0)

    def check_problem(self, problem_type: ProblemType) -> None:
        """Check that the loss fits the task.

        Raises:
            InputError: It does not.
        """
        if self.loss == "dist" and problem_type is not ProblemType.SINGLE_LABEL:
            raise InputError(
                f"soft_target_loss is dist and the task is {problem_type.value}, which has no distribution over "
                "exclusive classes whose correlations could be compared; use forward_kl."
            )
        if self.weigh_by_confidence and problem_type is ProblemType.REGRESSION:
            raise InputError(
                "weigh_by_confidence is set and the task is regression: a teacher does not say how sure it is of a "
                "score; leave it out."
            )

    def _teacher_logits(self, teacher: Signals, problem_type: ProblemType) -> Tensor:
        if self.loss == "mse":
            # Logits are compared as they are, and so of several their own mean is taken, as that of scores is.
            problem_type = ProblemType.REGRESSION
        return teacher_logits(teacher, self._temperature, problem_type)

    @staticmethod
    def _confidence(teacher: Signals, problem_type: ProblemType) -> Tensor:
        """The largest probability of each answer at temperature 1, without a gradient."""
        return confidence(teacher_logits(teacher, 1.0, problem_type).detach(), problem_type)

    def _values(self, student: Tensor, teacher: Tensor, problem_type: ProblemType) -> Tensor:
        if problem_type is ProblemType.REGRESSION:
            return soft_score_loss(student, teacher)
        if problem_type is ProblemType.MULTI_LABEL:
            student, teacher = _on_and_off(student), _on_and_off(teacher)
        if self.loss == "mse":
            return logit_mse_loss(student, teacher)
        if self.loss == "reverse_kl":
            return reverse_soft_target_loss(student, teacher, self._temperature)
        if self.loss == "jensen_shannon":
            return jensen_shannon_loss(student, teacher, self._temperature, self.beta)
        return soft_target_loss(student, teacher, self._temperature)

    def _dist(self, student: Tensor, teacher: Tensor, batch: MicroBatch) -> Tensor:
        between_classes = batch.average_over_answers(inter_class_loss(student, teacher, self._temperature))
        counts = batch.answers_that_count(student)
        own = Examples(student[counts], teacher[counts])
        within_classes = partial(intra_class_loss, temperature=self._temperature)
        return between_classes + batch.whole_step.compare(self.name, own, within_classes)

    def _sparse_values(self, student: Tensor, sparse: SparseLogits, problem_type: ProblemType) -> Tensor:
        if self.loss != "forward_kl" or self.weigh_by_confidence:
            raise InputError(
                "The teacher's answers are sampled tokens, from which only forward_kl without confidence weighting "
                "can be had: set soft_target_loss to forward_kl, or give it the teacher's whole logits."
            )
        if problem_type is not ProblemType.SINGLE_LABEL:
            raise InputError(
                f"The teacher's answers are sampled tokens and the task is {problem_type.value}, which has no "
                "distribution over exclusive classes to sample from: give it the teacher's whole logits."
            )
        return sparse_soft_target_loss(student, sparse, self._temperature)


def _check_equal_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise InputError(
            f"The student's logits are {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}: soft "
            "targets need one teacher logit for each student logit. Use a teacher and a student with the same "
            "classes and the same tokenizer."
        )


def _on_and_off(logits: Tensor) -> Tensor:
    """``(..., labels, 2)``: each label as a distribution of its own."""
    return torch.stack([logits, torch.zeros_like(logits)], dim=-1)
