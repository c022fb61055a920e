"""The card that tells where a student came from and what it is worth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hf_distill.evaluation.markdown import (
    agreement_text,
    cost_table,
    headline,
    layers_text,
    own_files,
    quality_table,
    settings_table,
    task_text,
    teacher_text,
)
from hf_distill.evaluation.publishable import publishable_command, shortened_path
from hf_distill.evaluation.report import DistillationReport

PIPELINE = "text-classification"
WHAT_IS_CLASSIFIED = {PIPELINE: "texts", "image-classification": "images"}
HUB_METRIC_NAMES = {"pearson": "pearsonr", "spearman": "spearmanr"}


def build_model_card(
    report: DistillationReport,
    *,
    model_id: str = "path/to/the/student",
    example: str | dict[str, str] = "A text to classify.",
    language: str | list[str] | None = None,
    license: str | None = None,
    command: Sequence[str] | None = None,
    pipeline: str = PIPELINE,
) -> ModelCard:
    """Write the card from the report, with metadata that the Hub reads and checks nothing over the network.

    The teacher is named as ``base_model`` if it came from the Hub. The documented relations have no word for
    distillation; ``finetune`` is the one that fits (weights of the base model, trained further) and the one that the
    Hub would assume.

    Args:
        report: What was measured.
        model_id: What ``pipeline(model=...)`` is to load: a Hub id, or a folder, of which the base name is shown.
        example: Input for the snippet; ``{"text": ..., "text_pair": ...}`` where the task has two texts.
        language: ISO 639 code(s) of the texts.
        license: As the Hub writes it, for instance ``apache-2.0``.
        command: The words that were typed to make the student; `publishable_command` takes paths and tokens away.
        pipeline: What the student is for: one of ``WHAT_IS_CLASSIFIED``.

    Returns:
        The card; its ``save(folder / "README.md")`` writes it.
    """
    model_id = _without_folders(model_id)
    name = model_id.rstrip("/").rpartition("/")[2]
    sections = [
        f"# {name}",
        _introduction(report),
        headline(report),
        "## How to use it",
        _snippet(model_id, example, pipeline),
        "## Results",
        quality_table(report),
        agreement_text(report),
        cost_table(report),
        f"Measured on {report.environment.get('device', 'an unknown device')} "
        f"with {report.environment.get('threads', 'an unknown number of')} CPU threads.",
        "## How it was made",
        settings_table(_origin(report)),
        *_training(report, command),
        "## Limitations",
        _limitations(report, WHAT_IS_CLASSIFIED[pipeline]),
    ]
    metadata = _metadata(report, name, language, license, pipeline).to_yaml()
    return ModelCard("\n\n".join([f"---\n{metadata}\n---", *sections]) + "\n")


def _without_folders(model_id: str) -> str:
    is_folder = model_id.rstrip("/").count("/") > 1 and Path(model_id).is_dir()
    return Path(model_id).name if is_folder else shortened_path(model_id)


def _metadata(
    report: DistillationReport, name: str, language: str | list[str] | None, license: str | None, pipeline: str
) -> ModelCardData:
    on_the_hub = report.teacher_revision is not None
    results = _eval_results(report, pipeline)
    dataset = report.data.get("dataset")
    return ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["distillation", "hf_distill", "generated_from_trainer"],
        base_model=report.teacher_name if on_the_hub else None,
        base_model_relation="finetune" if on_the_hub else None,
        datasets=[dataset] if dataset else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)),
        model_name=name,
        eval_results=results,
    )


def _eval_results(report: DistillationReport, pipeline: str) -> list[EvalResult]:
    """The student's scores; an undefined one is left out."""
    dataset = report.data.get("dataset") or own_files(report) or report.task
    config = report.data.get("config")
    return [
        EvalResult(
            task_type=pipeline,
            task_name=pipeline.replace("-", " ").title(),
            dataset_type=dataset,
            dataset_name=f"{dataset} {config}" if config else dataset,
            dataset_config=config,
            dataset_split=split,
            metric_type=HUB_METRIC_NAMES.get(metric, metric),
            metric_name=metric.replace("_", " ").capitalize(),
            metric_value=value,
        )
        for split, scores in report.student.metrics.items()
        for metric, value in scores.items()
        if value is not None
    ]


def _introduction(report: DistillationReport) -> str:
    origin = (
        "It started from other weights than the teacher's"
        if report.student_layers is None
        else f"It started from layers of its teacher ({layers_text(report)})"
    )
    finetuned = " The teacher was fine-tuned on the task first." if report.training.get("finetune_teacher") else ""
    return (
        f"A student for {task_text(report)}, distilled with hf_distill from the teacher {teacher_text(report)}. "
        f"{origin} and learned from the teacher's predictions, weighted as said below.{finetuned}"
    )


def _snippet(model_id: str, example: str | dict[str, str], pipeline: str) -> str:
    return (
        "```python\n"
        "from transformers import pipeline\n\n"
        f"classifier = pipeline({json.dumps(pipeline)}, model={json.dumps(model_id)})\n"
        f"print(classifier({json.dumps(example, ensure_ascii=False)}))\n"
        "```"
    )


def _origin(report: DistillationReport) -> dict[str, Any]:
    return {
        "teacher": teacher_text(report),
        "teacher layers taken": layers_text(report),
        **report.objective,
        **{f"data: {name}": value for name, value in report.data.items()},
    }


def _training(report: DistillationReport, command: Sequence[str] | None) -> list[str]:
    sections = ["### Training", settings_table(report.training)]
    if command is not None:
        sections.append(f"```bash\n{publishable_command(command)}\n```")
    versions = ", ".join(f"{name} {value}" for name, value in report.environment.items() if _is_version(name))
    return [*sections, f"Made with {versions}."]


def _is_version(name: str) -> bool:
    return name not in ("device", "threads")


def _limitations(report: DistillationReport, rows: str) -> str:
    return (
        f"The student was trained and measured on {task_text(report)} alone, so on other {rows} it may do worse than "
        "its teacher by more than the table says. It learned from its teacher's predictions and repeats its errors "
        "and biases."
    )
