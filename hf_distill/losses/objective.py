"""The weighted sum that a student learns from, its terms known by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.losses.binary_soft_target_loss import binary_soft_target_loss
from hf_distill.losses.counted_items import CountedItems, ItemCounts
from hf_distill.losses.hard_target_loss import hard_target_loss
from hf_distill.losses.hidden_state_loss import hidden_state_loss
from hf_distill.losses.mean_teacher_logits import mean_teacher_logits
from hf_distill.losses.soft_score_loss import soft_score_loss
from hf_distill.losses.soft_target_loss import soft_target_loss
from hf_distill.losses.sparse_soft_target_loss import sparse_soft_target_loss
from hf_distill.problem_type import ProblemType
from hf_distill.signals import Signals


@dataclass(frozen=True)
class DistillationObjective:
    """``soft_target_weight`` · soft + ``hard_target_weight`` · hard + ``hidden_state_weight`` · hidden.

    Each term is an average over what counts in the whole optimiser step, so its size depends neither on the batch
    size nor on the sequence length, and a weight means the same everywhere. A term of weight 0 is not computed.

    Example:
        >>> objective = DistillationObjective(temperature=2.0, soft_target_weight=0.5, hard_target_weight=0.5)
        >>> objective.term_names
        ('soft_target_loss', 'hard_target_loss')
    """

    temperature: float = 2.0
    soft_target_weight: float = 0.5
    hard_target_weight: float = 0.5
    hidden_state_weight: float = 0.0
    label_smoothing: float = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term that takes part."""
        weights = {
            "soft_target_loss": self.soft_target_weight,
            "hard_target_loss": self.hard_target_weight,
            "hidden_state_loss": self.hidden_state_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def term_names(self) -> tuple[str, ...]:
        """The terms that take part, in the order in which they are logged."""
        return tuple(self.weights)

    @property
    def needs_teacher(self) -> bool:
        """Whether any term looks at the teacher."""
        return self.soft_target_weight > 0 or self.hidden_state_weight > 0

    def terms(
        self,
        student: Signals,
        teacher: Signals | None,
        labels: Tensor | None,
        counted: CountedItems,
        totals: ItemCounts,
        problem_type: ProblemType,
    ) -> dict[str, Tensor]:
        """The unweighted terms of one micro-batch: sums over what counts in it, divided by the step's totals.

        Args:
            student: Its logits ``(batch, [sequence,] num_classes)`` and, if asked for, last hidden state.
            teacher: The same of the teacher, or its sparse or several teachers' mixed logits; None where no term
                needs it.
            labels: Aligned with the logits; None if there are none.
            counted: What counts in this micro-batch.
            totals: What counts in the whole optimiser step, over all micro-batches and processes.
            problem_type: Which losses fit.

        Returns:
            Scalars by name; summed over micro-batches and processes they give the averages of the step.

        Raises:
            InputError: A term needs labels and there are none, teacher and student differ in shape, or sparse logits
                do not fit the problem or the temperature.
        """
        terms: dict[str, Tensor] = {}
        if self.soft_target_weight > 0 and teacher is not None:
            values = self._soft_target_values(student.dense_logits, teacher, problem_type)
            terms["soft_target_loss"] = _average_over_answers(values, counted, totals, problem_type)
        if self.hard_target_weight > 0:
            logits = student.dense_logits
            terms["hard_target_loss"] = self.hard_target_term(logits, labels, counted, totals, problem_type)
        if self.hidden_state_weight > 0 and teacher is not None:
            hidden = hidden_state_loss(_given(student.last_hidden_state), _given(teacher.last_hidden_state))
            if counted.positions is not None and counted.positions.shape == hidden.shape:
                terms["hidden_state_loss"] = _masked_sum(hidden, counted.positions) / totals.positions.clamp(min=1)
            else:
                terms["hidden_state_loss"] = _masked_sum(hidden, counted.examples) / totals.examples.clamp(min=1)
        return terms

    def hard_target_term(
        self,
        logits: Tensor,
        labels: Tensor | None,
        counted: CountedItems,
        totals: ItemCounts,
        problem_type: ProblemType,
    ) -> Tensor:
        """The task's own loss, a scalar: the term of training and the whole of ``eval_loss``."""
        if labels is None or counted.targets is None:
            raise InputError(
                "The rows have no `labels`, which hard_target_weight > 0 needs: label them, or set "
                "hard_target_weight to 0 to learn from the teacher's soft targets alone."
            )
        if self.label_smoothing > 0 and problem_type is not ProblemType.SINGLE_LABEL:
            raise InputError(
                f"label_smoothing_factor is {self.label_smoothing} and the task is {problem_type.value}, which has no "
                "exclusive classes to spread a label over; set it to 0."
            )
        values = hard_target_loss(logits, labels, problem_type, self.label_smoothing)
        return _masked_sum(values, counted.targets) / totals.targets.clamp(min=1)

    def weighted_sum(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss to minimise."""
        weights = self.weights
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum()

    def _soft_target_values(self, student: Tensor, teacher: Signals, problem_type: ProblemType) -> Tensor:
        if teacher.sparse is not None:
            _check_sparse_fits(problem_type)
            return sparse_soft_target_loss(student, teacher.sparse, self.temperature)
        if teacher.mixed is not None:
            logits = mean_teacher_logits(teacher.mixed, self.temperature, problem_type)
        else:
            logits = teacher.dense_logits
        if student.shape != logits.shape:
            raise InputError(
                f"The student's logits are {tuple(student.shape)} and the teacher's {tuple(logits.shape)}: soft "
                "targets need one teacher logit for each student logit. Use a teacher and a student with the same "
                "classes and the same tokenizer."
            )
        if problem_type is ProblemType.REGRESSION:
            return soft_score_loss(student, logits)
        if problem_type is ProblemType.MULTI_LABEL:
            return binary_soft_target_loss(student, logits, self.temperature)
        return soft_target_loss(student, logits, self.temperature)


def _check_sparse_fits(problem_type: ProblemType) -> None:
    if problem_type is not ProblemType.SINGLE_LABEL:
        raise InputError(
            f"The teacher's answers are sampled tokens and the task is {problem_type.value}, which has no "
            "distribution over exclusive classes to sample from: give it the teacher's whole logits."
        )


def _average_over_answers(
    values: Tensor, counted: CountedItems, totals: ItemCounts, problem_type: ProblemType
) -> Tensor:
    """Average over the labelled answers; without labels over the predicted tokens, or else the examples."""
    if counted.targets is not None:
        return _masked_sum(values, counted.targets) / totals.targets.clamp(min=1)
    # Only exclusive classes are given token by token: several labels of an example may be as many as its tokens.
    by_token = counted.predictions if problem_type is ProblemType.SINGLE_LABEL else None
    if by_token is not None and by_token.shape == values.shape:
        return _masked_sum(values, by_token) / totals.predictions.clamp(min=1)
    return _masked_sum(values, counted.examples) / totals.examples.clamp(min=1)


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum where ``mask`` is true; dimensions that only ``values`` has are averaged first."""
    if values.numel() == mask.numel():
        values = values.reshape(mask.shape)
    elif values.dim() > mask.dim():
        values = values.flatten(mask.dim()).mean(-1)
    return torch.where(mask, values, 0).sum()


def _given(hidden_state: Tensor | None) -> Tensor:
    if hidden_state is None:
        raise InputError(
            "hidden_state_weight > 0 needs hidden states, and the model returned none: its forward must take "
            "`output_hidden_states`. Set hidden_state_weight to 0 for this model."
        )
    return hidden_state
