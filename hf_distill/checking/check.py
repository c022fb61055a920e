"""The check itself: everything looked at, nothing changed."""

from __future__ import annotations

from typing import Any

import torch

from hf_distill.benchmarks.cost_model import OFFSET_BYTES
from hf_distill.benchmarks.model_shape import ModelShape as CostShape
from hf_distill.checking.background import Background
from hf_distill.checking.balance import warnings_about_balance
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.checking.objective_facts import stage_facts
from hf_distill.checking.one_batch import BatchFacts, reason_for_no_batch, try_one_batch
from hf_distill.checking.reading_facts import LabelFacts, RowFacts, stored_labels
from hf_distill.checking.report import CheckReport
from hf_distill.checking.term_costs import BatchShape, bytes_in_cache
from hf_distill.checking.untouched import untouched
from hf_distill.model_wrappers import unwrapped
from hf_distill.problem_type import ProblemType, classifies_whole_examples, infer_problem_type
from hf_distill.signal_needs import NOTHING_ELSE
from hf_distill.teachers.cache.keys import KEY_BYTES
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.live_teacher import LiveTeacher
from hf_distill.teachers.teacher import Teacher
from hf_distill.trainer import DistillationTrainer

_SOME_LABELS = 64


def check(trainer: DistillationTrainer, background: Background | None = None) -> CheckReport:
    """Look at a training before it begins: models, labels, rows, layers, costs, and one batch through everything.

    The batch is run as a step of training is, dropout included, and its gradients are thrown away. Afterwards the
    training goes on as if there had been no check: weights, buffers and random numbers are as they were.

    Args:
        trainer: As it would be trained.
        background: What is known of models and rows beside it.

    Returns:
        The facts; as a string, they are laid out to be read.

    Raises:
        InputError: The objective cannot be computed on these rows.

    Example:
        >>> print(check(trainer))  # doctest: +SKIP
    """
    background = background if background is not None else Background()
    student: Any = unwrapped(trainer.model)
    args = trainer.args
    with untouched(trainer.model, args.device, args.seed), torch.compiler.set_stance("force_eager"):
        own = ModelFacts.of(student)
        teacher = _facts_of(trainer.teacher, background)
        labels = stored_labels(trainer.train_dataset, _SOME_LABELS)
        rows = RowFacts.of(trainer.train_dataset, trainer.eval_dataset, student)
        shape = _largest_batch(student, own, rows, args.train_batch_size, labels)
        reason = background.reason_for_no_batch or reason_for_no_batch(trainer)
        batch, out_of_memory = (None, "") if reason else _tried(trainer)
        stages = stage_facts(trainer.objective, args.learning_rate, own, teacher, shape, rows.mean)
        warnings = warnings_about_balance(batch.moments, _noise(trainer, background)) if batch is not None else []
        return CheckReport(
            student=own,
            teacher=teacher,
            labels=LabelFacts.of(own, teacher, student, labels),
            rows=rows,
            stages=stages,
            batch_shape=shape,
            cache_bytes=_cached_row(trainer, teacher, shape, rows),
            projections=trainer.projected_widths() if trainer.projections is not None else {},
            batch=batch,
            reason_for_no_batch=reason or out_of_memory,
            seed=args.seed,
            tokenizers=background.tokenizers,
            notes=background.notes,
            warnings=tuple([*_size_warnings(own, teacher), *([out_of_memory] if out_of_memory else []), *warnings]),
        )


def _tried(trainer: DistillationTrainer) -> tuple[BatchFacts | None, str]:
    try:
        return try_one_batch(trainer), ""
    except torch.OutOfMemoryError:
        return None, (
            f"a batch of {trainer.args.train_batch_size} rows does not fit in the device's memory; if training does "
            "not either, lower per_device_train_batch_size and raise gradient_accumulation_steps"
        )


def _noise(trainer: DistillationTrainer, background: Background) -> frozenset[str]:
    """The terms that look at a teacher's answers while its head is untrained."""
    terms = [term for objective in trainer.objective.objectives for term in objective.terms]
    names = (term.name for term in terms if term.looks_at_teacher and not term.looks_inside)
    return frozenset(names) if background.has_untrained_head else frozenset()


def _facts_of(teacher: Teacher | None, background: Background) -> ModelFacts | None:
    if teacher is None or background.teacher is not None:
        return background.teacher if teacher is not None else None
    if isinstance(teacher, TeacherEnsemble):
        return _facts_of(teacher.teachers[0], background)
    if isinstance(teacher, LiveTeacher):
        return ModelFacts.of(teacher.model)
    shape = teacher.shape
    heads, width = shape.attention_heads, shape.hidden_size
    head_width = width // heads if width and heads else None
    return ModelFacts("answers from a cache", shape, key_value_heads=heads, head_width=head_width)


def _largest_batch(
    student: Any, facts: ModelFacts, rows: RowFacts, batch_size: int, labels: torch.Tensor | None
) -> BatchShape | None:
    """What a batch of the longest rows would be; None for rows without tokens."""
    if rows.train is None or not rows.longest:
        return None
    count = min(batch_size, rows.train)
    cost: CostShape | None = facts.cost
    if classifies_whole_examples(student):
        logits: tuple[int, ...] = (count, student.config.num_labels)
    elif facts.labels is not None:
        logits = (count, rows.longest, len(facts.labels))
    elif cost is not None and cost.per_token:
        logits = (count, rows.longest, cost.outputs)
    else:
        return None
    problem = infer_problem_type(student, labels) if classifies_whole_examples(student) else ProblemType.SINGLE_LABEL
    return BatchShape(count, rows.longest, logits, problem, facts.shape.is_causal)


def _cached_row(
    trainer: DistillationTrainer, teacher: ModelFacts | None, shape: BatchShape | None, rows: RowFacts
) -> float | None:
    """Bytes that a cache of the teacher stores for an average row, in fp32: answers, key, and what lies inside."""
    if teacher is None or shape is None or rows.mean is None:
        return None
    by_token = len(shape.logits) == 3
    inside = trainer.objective.teacher_needs if trainer.objective.looks_inside else NOTHING_ELSE
    answers = 4 * shape.logits[-1] * (rows.mean if by_token else 1)
    place = OFFSET_BYTES if by_token or inside else 0
    return KEY_BYTES + place + answers + bytes_in_cache(inside, teacher, rows.mean)


def _size_warnings(student: ModelFacts, teacher: ModelFacts | None) -> list[str]:
    if teacher is None or not student.parameters or not teacher.parameters:
        return []
    if student.parameters < teacher.parameters:
        return []
    return [
        f"The student has {student.parameters:,} parameters and its teacher {teacher.parameters:,}: it will be no "
        "smaller. Lower student_layers, or name a smaller student."
    ]
