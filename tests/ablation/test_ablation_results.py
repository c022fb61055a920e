"""The tables and the plot of an ablation."""

import json

import numpy as np
import pytest
from scipy import stats

from hf_distill.ablation.bench import TaskFacts
from hf_distill.ablation.progress import Progress
from hf_distill.ablation.results import AblationResults
from hf_distill.ablation.table import ablation_tables
from hf_distill.ablation.trial import Outcome, Trial
from hf_distill.ablation.variants import Variant

pytest.importorskip("matplotlib", reason="needs the sweep extra")

from hf_distill.ablation.plot import difference_figure

SCORES = {
    ("sst2", "full"): [0.80, 0.82, 0.84],
    ("sst2", "no teacher"): [0.79, 0.80, 0.84],
    ("cola", "full"): [0.30, 0.34, 0.32],
    ("cola", "no teacher"): [0.20, 0.28, None],
}


def make(scores=SCORES, variants=("full", "no teacher"), **changes):
    outcomes = {
        (task, variant, 42 + number): Outcome(score, 100 if task == "sst2" else 50, 1.0, {})
        for (task, variant), values in scores.items()
        for number, score in enumerate(values)
    }
    values = {
        "tasks": {
            "sst2": TaskFacts("accuracy", "validation", 872, 0.86, "a"),
            "cola": TaskFacts("matthews_correlation", "validation", 1043, 0.40, "b"),
        },
        "variants": list(variants),
        "seeds": [42, 43, 44],
        "reference": "full",
        "outcomes": outcomes,
        "command": ["python", "scripts/ablation.py", "my config.yaml"],
    }
    return AblationResults(**{**values, **changes})


def cells(text):
    tables = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


def test_scores_are_in_points_with_mean_over_tasks_and_share_of_the_teacher():
    (header, _, teacher, full, without), _ = cells(ablation_tables(make()))
    assert header == ["variant", "sst2 (accuracy)", "cola (matthews correlation)", "mean", "% of the teacher"]
    assert teacher == ["*teacher*", "86.00", "40.00", "63.00", "100.0"]
    mean = np.mean([SCORES["sst2", "full"], SCORES["cola", "full"]], axis=0)
    assert full[1:3] == ["82.00 ± 2.00", "32.00 ± 2.00"]
    assert full[3] == f"{100 * mean.mean():.2f} ± {100 * mean.std(ddof=1):.2f}"
    assert full[4] == f"{100 * mean.mean() / 0.63:.1f}"
    assert without[1:3] == ["81.00 ± 2.65", "24.00 ± 5.66"]
    # Only the two seeds that have both tasks make up the mean.
    assert without[3] == f"{100 * np.mean([0.495, 0.54]):.2f} ± {100 * np.std([0.495, 0.54], ddof=1):.2f}"


def test_differences_are_paired_by_seed_on_each_task_and_for_the_mean():
    _, (header, _, without) = cells(ablation_tables(make()))
    assert header == ["variant", "sst2", "cola", "mean"]
    pairs = {
        "sst2": (SCORES["sst2", "no teacher"], SCORES["sst2", "full"]),
        "cola": ([0.20, 0.28], [0.30, 0.34]),
        "mean": ([0.495, 0.54], [0.55, 0.58]),
    }
    for cell, (values, reference) in zip(without[1:], pairs.values(), strict=True):
        test = stats.ttest_rel(values, reference)
        interval = test.confidence_interval(0.95)
        expected = [np.subtract(values, reference).mean(), interval.low, interval.high]
        written = [f"{100 * value:+.2f}".replace("-", "−") for value in expected]
        assert cell == f"{written[0]} [{written[1]}, {written[2]}]"


def test_what_to_know_is_said_and_the_command_comes_last():
    text = ablation_tables(make())
    assert "the seeds 42, 43, 44" in text and "sst2 872 rows of validation" in text
    assert "not defined: no teacher on cola." in text and "not finished" not in text
    assert "Optimiser steps of every student: sst2 100, cola 50." in text
    assert text.splitlines()[-3:] == ["```bash", "python scripts/ablation.py 'my config.yaml'", "```"]
    assert "best checkpoint" in ablation_tables(make(chooses_best=True))


def test_unfinished_and_single_ones():
    results = make({("sst2", "full"): [0.8]}, tasks={"sst2": TaskFacts("accuracy", "dev", 9, None, "a")})
    text = ablation_tables(results)
    assert "**5 students are not finished yet.**" in text
    (header, _, teacher, full, without), (_, _, difference) = cells(text)
    assert header == ["variant", "sst2 (accuracy)", "% of the teacher"]
    assert (teacher[1:], full[1:], without[1:]) == (["–", "100.0"], ["80.00", "–"], ["–", "–"])
    assert difference == ["no teacher", "–"]
    assert "# Ablation: nothing yet" in ablation_tables(make({}, tasks={}))


def test_json_holds_what_the_tables_round():
    found = json.loads(json.dumps(make().to_dict(), allow_nan=False))
    without = found["variants"]["no teacher"]
    assert without["cola"]["scores"] == [0.20, 0.28, None]
    assert without["cola"]["difference"]["n"] == 2
    interval = stats.ttest_rel(SCORES["sst2", "no teacher"], SCORES["sst2", "full"]).confidence_interval()
    difference = without["sst2"]["difference"]
    assert difference["mean"] - difference["half_width"] == pytest.approx(interval.low, rel=1e-9)
    assert found["variants"]["full"]["mean"]["retention"] == pytest.approx(0.57 / 0.63)
    assert found["tasks"]["cola"]["metric"] == "matthews_correlation" and found["missing"] == 0


def test_plot_shows_each_difference_with_its_interval():
    mean, sst2, cola = difference_figure(make()).axes
    assert [axes.get_title() for axes in (mean, sst2, cola)] == ["mean over tasks", "sst2", "cola"]
    assert [label.get_text() for label in mean.get_yticklabels()] == ["no teacher"]
    (bar,) = sst2.containers
    expected = stats.ttest_rel(SCORES["sst2", "no teacher"], SCORES["sst2", "full"]).confidence_interval()
    (low, _), (high, _) = bar.lines[2][0].get_segments()[0]
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert sorted(sst2.collections[0].get_offsets()[:, 0]) == pytest.approx([-2.0, -1.0, 0.0])
    assert len(difference_figure(make({}, tasks={})).axes) == 1


def test_results_are_saved_whole(tmp_path):
    make().save_tables(tmp_path)
    make().save_plot(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ablation.json", "ablation.md", "ablation.png"]


def test_progress_counts_the_work_of_all_processes(monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    now = [100.0]
    progress = Progress(planned=6, finished=1)
    trials = [Trial(task, Variant("full", {}), seed) for seed in range(3) for task in ("sst2", "cola")]
    seconds = {"sst2": 60.0, "cola": 30.0}
    outcomes = {trial: Outcome(0.5, 1, seconds[trial.task], {}) for trial in trials[:3]}
    # 90 seconds of work by two processes in 45 seconds.
    now[0] += 45
    line = progress.line(trials[2], outcomes, trials[3:])
    assert line == "3 of 6: sst2, full, seed 1: 50.00 in 60 s; 3 left, about 60 s"
    outcomes |= {trial: Outcome(None, None, 1.0, {}) for trial in trials[3:]}
    assert progress.line(trials[5], outcomes, []) == "6 of 6: cola, full, seed 2: no score in 1 s; all are finished"
