"""The table of a sweep in Markdown, the best trial first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_distill.sweep.trial import Trial, best_first

if TYPE_CHECKING:
    from hf_distill.sweep.results import SweepResults

_UNDEFINED = "–"


def sweep_table(results: SweepResults) -> str:
    """Heading, table and what to keep in mind when reading it."""
    header = ["trial", "temperature", "soft targets", "hard targets", "learning rate", results.metric]
    header += ["± standard error"] * (results.metric == "accuracy")
    header += ["by seed"] * (len(results.seeds) > 1) + ["seconds"]
    lines = [header, ["---:"] * len(header)]
    lines += [_row(results, trial) for trial in best_first(results.trials)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([f"# Sweep: {results.task}", _introduction(results), table, _advice(results)]) + "\n"


def shown_score(results: SweepResults, trial: Trial) -> str:
    """A score with its standard error, where it has one."""
    error = results.standard_error(trial)
    return _score(trial.score) + (f" ± {error:.4f}" if error is not None else "")


def _row(results: SweepResults, trial: Trial) -> list[str]:
    values = results.arguments(trial)
    row = [str(trial.number), f"{values['temperature']:.2f}", f"{values['soft_target_weight']:.2f}"]
    row += [f"{values['hard_target_weight']:.2f}", f"{values['learning_rate']:.2e}", _score(trial.score)]
    if results.metric == "accuracy":
        row.append(_score(results.standard_error(trial)))
    if len(results.seeds) > 1:
        row.append(", ".join(map(_score, trial.scores)) or _UNDEFINED)
    return [*row, f"{trial.seconds:.1f}"]


def _introduction(results: SweepResults) -> str:
    of_seeds = ""
    if len(results.seeds) > 1:
        of_seeds = f", the mean over the seeds {', '.join(map(str, results.seeds))}"
    without = sum(trial.score is None for trial in results.trials)
    text = f"{len(results.trials)} trials, scored by {results.metric} on {results.split} ({results.rows:,} rows)"
    return f"{text}{of_seeds}." + (f" {without} diverged or have no defined score." if without else "")


def _advice(results: SweepResults) -> str:
    noise = ""
    if results.metric == "accuracy":
        noise = f"The standard error is what {results.rows:,} rows give to an accuracy. "
    return (
        f"{noise}The best score was chosen on the rows that it is measured on, so it is too high: for an honest one, "
        "hold rows back from the sweep and score `best` on those."
    )


def _score(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.4f}"
