"""Teacher and student on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedModel

from hf_distill.evaluation.agreement import agreement
from hf_distill.evaluation.latency import Speed, measure_speed
from hf_distill.evaluation.prediction import Collator, predict_logits
from hf_distill.evaluation.report import ModelFigures
from hf_distill.evaluation.retention import Metrics, retention
from hf_distill.evaluation.size import weights_megabytes
from hf_distill.tasks import Task


@dataclass(frozen=True)
class Comparison:
    """The measured part of a `DistillationReport`: ``DistillationReport(..., **vars(comparison))``."""

    teacher: ModelFigures
    student: ModelFigures
    baseline: ModelFigures | None
    retention: Metrics
    agreement: dict[str, float | None]


def compare(
    task: Task,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    evaluation: dict[str, Dataset],
    collator: Collator,
    compute_metrics: Callable[[EvalPrediction], dict[str, float]],
    *,
    baseline: PreTrainedModel | None = None,
    teacher_columns: list[int] | None = None,
    teacher_rows: tuple[dict[str, Dataset], Collator] | None = None,
    batch_size: int = 32,
    time_budget: float = 10.0,
) -> Comparison:
    """Score, measure and set side by side; every process takes part and receives the same result.

    Args:
        task: Tells the kind of problem.
        teacher: Whole (not sharded) and on its device in every process, like the other two models.
        student: Numbers its classes as the labels of the rows do.
        evaluation: Split -> tokenized rows with ``labels``.
        collator: Makes a batch of tensors out of rows.
        compute_metrics: Metrics of logits and labels, as ``Trainer`` takes it.
        baseline: The student fine-tuned without the teacher, if there is one; numbers its classes as the student.
        teacher_columns: Column ``teacher_columns[i]`` of the teacher's logits belongs to the student's class ``i``.
            ``None`` if both number the classes alike.
        teacher_rows: The rows of ``evaluation`` as the teacher reads them, and their collator, where it has another
            tokenizer.
        batch_size: Rows in a batch when predicting.
        time_budget: Seconds for the speed measurement, about.

    Returns:
        The figures of each model, retention and agreement.
    """
    models = {"teacher": teacher, "student": student} | ({"baseline": baseline} if baseline is not None else {})
    own_rows = {"teacher": teacher_rows} if teacher_rows is not None else {}
    logits = {
        name: _predict(name, model, *own_rows.get(name, (evaluation, collator)), batch_size)
        for name, model in models.items()
    }
    if teacher_columns is not None:
        logits["teacher"] = {split: values[:, teacher_columns] for split, values in logits["teacher"].items()}
    own_samples = {name: (_first_split(rows), collate) for name, (rows, collate) in own_rows.items()}
    speeds = _speed_on_main_process(models, _first_split(evaluation), collator, time_budget, own_samples)
    figures = {
        name: ModelFigures(
            parameters=model.num_parameters(),
            size_mb=weights_megabytes(model),
            metrics=_score(logits[name], evaluation, compute_metrics),
            **vars(speeds[name]),
        )
        for name, model in models.items()
    }
    return Comparison(
        teacher=figures["teacher"],
        student=figures["student"],
        baseline=figures.get("baseline"),
        retention=retention(figures["student"].metrics, figures["teacher"].metrics),
        agreement={
            split: agreement(logits["student"][split], logits["teacher"][split], task.problem_type)
            for split in evaluation
        },
    )


def _predict(
    name: str, model: PreTrainedModel, evaluation: dict[str, Dataset], collator: Collator, batch_size: int
) -> dict[str, np.ndarray]:
    return {
        split: predict_logits(model, rows, collator, batch_size, f"Evaluating the {name} on {split}")
        for split, rows in evaluation.items()
    }


def _first_split(evaluation: dict[str, Dataset]) -> Dataset:
    return next(iter(evaluation.values()))


def _score(
    logits: dict[str, np.ndarray],
    evaluation: dict[str, Dataset],
    compute_metrics: Callable[[EvalPrediction], dict[str, float]],
) -> Metrics:
    return {
        split: dict(compute_metrics(EvalPrediction(predictions=logits[split], label_ids=np.array(rows["labels"]))))
        for split, rows in evaluation.items()
    }


def _speed_on_main_process(
    models: dict[str, PreTrainedModel],
    dataset: Dataset,
    collator: Collator,
    time_budget: float,
    own_rows: dict[str, tuple[Dataset, Collator]],
) -> dict[str, Speed]:
    """The other processes wait meanwhile, since their work would be measured too."""
    main = PartialState().is_main_process
    measured = [measure_speed(models, dataset, collator, time_budget, own_rows) if main else None]
    return broadcast_object_list(measured)[0]
