"""The report's tables in Markdown, for the report itself and for the model card."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_distill.evaluation.report import DistillationReport, ModelFigures

UNDEFINED = "–"


def report_to_markdown(report: "DistillationReport") -> str:
    """The whole report: headline, quality, cost, and how the student was made."""
    sections = [
        f"# Distillation report: {report.task}",
        headline(report),
        "## Quality",
        quality_table(report),
        agreement_text(report),
        "## Size and speed",
        cost_table(report),
        "## How the student was made",
        settings_table({"teacher": teacher_text(report), "teacher layers taken": layers_text(report)}),
    ]
    for title in ("objective", "training", "data", "environment"):
        sections += [f"### {title.capitalize()}", settings_table(getattr(report, title))]
    return "\n\n".join(sections) + "\n"


def summary(report: "DistillationReport") -> str:
    """What a person wants to know first: headline, quality and cost."""
    return "\n\n".join([headline(report), quality_table(report), cost_table(report)]) + "\n"


def headline(report: "DistillationReport") -> str:
    """One sentence for each split: what is kept of the primary metric, and at what size and speed."""
    metric = report.primary_metric
    kept = [
        f"{_percent(report.retention[split].get(metric))} of its teacher's {metric} on {split} "
        f"({_score(report.student.metrics[split].get(metric))} against {_score(scores.get(metric))})"
        for split, scores in report.teacher.metrics.items()
    ]
    smaller = _percent(report.student.parameters / report.teacher.parameters)
    faster = _times(report.student.throughput / report.teacher.throughput)
    return f"The student keeps {' and '.join(kept)}, with {smaller} of the parameters and {faster} the throughput."


def quality_table(report: "DistillationReport") -> str:
    """A row for each metric of each split: teacher, student, retention and, if there is one, the baseline."""
    header = ["split", "metric", "teacher", "student", "retention"]
    if report.baseline:
        header.append("student without teacher")
    rows = []
    for split, scores in report.teacher.metrics.items():
        for metric, score in scores.items():
            row = [split, metric, _score(score), _score(report.student.metrics[split].get(metric))]
            row.append(_percent(report.retention[split].get(metric)))
            if report.baseline:
                row.append(_score(report.baseline.metrics[split].get(metric)))
            rows.append(row)
    return _table(header, rows)


def cost_table(report: "DistillationReport") -> str:
    """Parameters, size on disk, latency and throughput; the gain says how many times smaller or faster."""
    teacher, student = report.teacher, report.student
    rows = [
        ["parameters", *_both(report, "parameters", "{:,}"), _times(teacher.parameters / student.parameters)],
        ["size on disk", *_both(report, "size_mb", "{:.1f} MB"), _times(teacher.size_mb / student.size_mb)],
        [
            "latency, median (batch 1)",
            *_both(report, "latency_ms_median", "{:.2f} ms"),
            _times(teacher.latency_ms_median / student.latency_ms_median),
        ],
        [
            "latency, 95th percentile (batch 1)",
            *_both(report, "latency_ms_p95", "{:.2f} ms"),
            _times(teacher.latency_ms_p95 / student.latency_ms_p95),
        ],
        [
            "throughput (batch 32)",
            *_both(report, "throughput", "{:,.1f} examples/s"),
            _times(student.throughput / teacher.throughput),
        ],
    ]
    return _table(["", "teacher", "student", "gain"], rows)


def agreement_text(report: "DistillationReport") -> str:
    """How far teacher and student say the same, in a sentence."""
    shares = ", ".join(f"{_score(share)} ({split})" for split, share in report.agreement.items())
    return (
        f"Agreement between teacher and student: {shares}. It is the share of rows with the same predicted class; "
        "for a regression, Pearson's r between the two scores."
    )


def task_text(report: "DistillationReport") -> str:
    """The task's name, or the files' names where the rows are the user's own."""
    files = own_files(report)
    return f"texts of one's own ({files})" if files else f"the task {report.task}"


def own_files(report: "DistillationReport") -> str | None:
    """Names of the files the rows came from; ``None`` if they came from a known data set or package."""
    if "dataset" in report.data or "package" in report.data or not report.data.get("files"):
        return None
    return ", ".join(dict.fromkeys(report.data["files"]))


def teacher_text(report: "DistillationReport") -> str:
    """The teacher's name and, if it came from the Hub, its revision."""
    if report.teacher_revision is not None:
        return f"{report.teacher_name}, revision {report.teacher_revision}"
    is_packaged = report.teacher_name.startswith("package:")
    return report.teacher_name if is_packaged else f"{report.teacher_name} (local folder)"


def layers_text(report: "DistillationReport") -> str:
    """The teacher's layers that the student started from."""
    if report.student_layers is None:
        return "none: the student started from other weights"
    return "; ".join(f"{stack}: {', '.join(map(str, layers))}" for stack, layers in report.student_layers.items())


def settings_table(settings: dict[str, Any]) -> str:
    """Names and values; a nested name follows its parent's after a dot."""
    return _table(["setting", "value"], [[name, _cell(value)] for name, value in _flattened(settings)])


def _flattened(settings: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _both(report: "DistillationReport", figure: str, form: str) -> list[str]:
    models: tuple[ModelFigures, ModelFigures] = (report.teacher, report.student)
    return [form.format(getattr(model, figure)) for model in models]


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return str(value).replace("|", "\\|").replace("\n", " ")


def _score(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.4f}"


def _percent(ratio: float | None) -> str:
    return UNDEFINED if ratio is None else f"{100 * ratio:.1f} %"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"
