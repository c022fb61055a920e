"""The table and the plot of a sweep."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import binomtest, sem

from hf_distill.sweep.results import SweepResults, as_options
from hf_distill.sweep.search_space import Range
from hf_distill.sweep.table import sweep_table
from hf_distill.sweep.trial import Trial, accuracy_standard_error, best_first, best_of

pytest.importorskip("matplotlib", reason="needs the sweep extra")

from hf_distill.sweep.plot import sweep_figure

TRIALS = [
    Trial(1, {"temperature": 2.0, "soft_target_weight": 0.5}, [0.8], 10.0),
    Trial(2, {"temperature": 4.0, "soft_target_weight": 0.25}, [0.9], 11.0),
    Trial(3, {"temperature": 8.0, "soft_target_weight": 1.0}, [], 1.0),
    Trial(4, {"temperature": 1.0, "soft_target_weight": 0.0}, [0.9], 12.0),
]


@pytest.fixture
def results():
    return SweepResults(
        task="sst2",
        metric="accuracy",
        split="validation",
        rows=872,
        seeds=[42],
        learning_rate=2e-4,
        space={"temperature": Range(1, 8, log=True), "soft_target_weight": Range(0, 1)},
        trials=TRIALS,
    )


def cells(table):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


def test_best_comes_first_equal_ones_in_their_order_and_diverged_ones_last():
    assert [trial.number for trial in best_first(TRIALS)] == [2, 4, 1, 3]
    assert best_of(TRIALS).number == 2
    assert best_of(TRIALS[2:3]) is None and best_of([]) is None


def test_standard_error_is_wilson_s_and_close_to_that_of_a_mean():
    # The probability within one standard deviation.
    one_sigma = 0.6826894921370859
    for right, rows in [(715, 872), (20, 20), (0, 50), (3, 10)]:
        low, high = binomtest(right, rows).proportion_ci(one_sigma, method="wilson")
        assert accuracy_standard_error(right / rows, rows) == pytest.approx((high - low) / 2, rel=1e-9)
    answers = np.repeat([1.0, 0.0], [715, 157])
    assert accuracy_standard_error(715 / 872, 872) == pytest.approx(sem(answers, ddof=0), rel=2e-3)


def test_table(results):
    header, _, *rows = cells(sweep_table(results))
    assert header[:6] == ["trial", "temperature", "soft targets", "hard targets", "learning rate", "accuracy"]
    assert header[6:] == ["± standard error", "seconds"]
    assert rows == [
        ["2", "4.00", "0.25", "0.75", "2.00e-04", "0.9000", "0.0102", "11.0"],
        ["4", "1.00", "0.00", "1.00", "2.00e-04", "0.9000", "0.0102", "12.0"],
        ["1", "2.00", "0.50", "0.50", "2.00e-04", "0.8000", "0.0135", "10.0"],
        ["3", "8.00", "1.00", "0.00", "2.00e-04", "–", "–", "1.0"],
    ]
    text = sweep_table(results)
    assert "1 diverged" in text and "872 rows" in text
    assert "hold rows back" in text.splitlines()[-1]


def test_table_of_several_seeds_and_of_another_metric(results):
    trial = Trial(1, {"temperature": 2.0, "soft_target_weight": 0.5, "learning_rate": 1e-3}, [0.5, 0.6], 10.0)
    results = dataclasses.replace(results, metric="pearson", seeds=[3, 4], trials=[trial])
    header, _, row = cells(sweep_table(results))
    assert row == ["1", "2.00", "0.50", "0.50", "1.00e-03", "0.5500", "0.5000, 0.6000", "10.0"]
    assert "standard error" not in sweep_table(results) and "seeds 3, 4" in sweep_table(results)


def test_json_holds_what_the_table_rounds(results):
    found = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    assert found["best"] == 2
    assert [trial["score"] for trial in found["trials"]] == [0.8, 0.9, None, 0.9]
    assert found["trials"][1]["hard_target_weight"] == 0.75
    assert found["trials"][1]["standard_error"] == accuracy_standard_error(0.9, 872)
    assert found["space"] == {"temperature": [1, 8], "soft_target_weight": [0, 1]}


def test_options_can_be_pasted(results):
    written = as_options(results.arguments(Trial(1, {"temperature": 1 / 3, "soft_target_weight": 0.1}, [0.5], 1.0)))
    assert written == (
        "--learning_rate 0.0002 --temperature 0.3333333333333333 --soft_target_weight 0.1 --hard_target_weight 0.9"
    )


def test_plot_has_a_point_for_each_score_coloured_by_the_weight(results):
    axes, colours = sweep_figure(results).axes
    points, ring = axes.collections
    assert points.get_offsets().tolist() == [[2.0, 0.8], [4.0, 0.9], [1.0, 0.9]]
    assert points.get_array().tolist() == [0.5, 0.25, 0.0]
    assert points.norm.vmin == 0 and points.norm.vmax == 1
    assert ring.get_offsets().tolist() == [[4.0, 0.9]]
    (band,) = axes.patches
    assert band.get_y() == pytest.approx(0.9 - 0.0102, abs=1e-4) and band.get_height() == pytest.approx(
        2 * 0.01017, abs=1e-4
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("temperature", "accuracy on validation")
    assert colours.get_ylabel() == "weight of the soft targets"
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] < 1 and axes.get_xlim()[1] > 8


def test_plot_of_one_searched_value_and_of_no_trial(results):
    space = {"temperature": Range(2, 2, log=True), "soft_target_weight": Range(0, 1)}
    (axes,) = sweep_figure(dataclasses.replace(results, space=space)).axes
    assert axes.collections[0].get_offsets().tolist() == [[0.5, 0.8], [0.25, 0.9], [0.0, 0.9]]
    assert axes.get_xlabel() == "weight of the soft targets"
    assert len(sweep_figure(dataclasses.replace(results, trials=[])).axes[0].collections[0].get_offsets()) == 0


def test_results_are_saved_whole(results, tmp_path):
    results.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.json", "sweep.md", "sweep.png"]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
