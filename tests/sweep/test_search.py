"""What Optuna is asked and told, and what outlives the process."""

import numpy as np
import pytest

from hf_distill.errors import InputError
from hf_distill.sweep.search_space import Range, own_values, search_space
from hf_distill.sweep.trial import Trial

pytest.importorskip("optuna", reason="needs the sweep extra")

import optuna

from hf_distill.arguments import SweepArguments
from hf_distill.sweep.search import Search, settings_of

SPACE = {"temperature": Range(1, 8, log=True), "soft_target_weight": Range(0, 1)}
FIRST = {"temperature": 2.0, "soft_target_weight": 0.5}


def score(values):
    """Best at a temperature of 4 and a weight of 0.75; undefined near 0."""
    if values["soft_target_weight"] < 0.1:
        return []
    return [-((np.log2(values["temperature"]) - 2) ** 2) - (values["soft_target_weight"] - 0.75) ** 2]


def run(file, trials, cut_short=(), first=FIRST, seed=0):
    """Search; before each trial in ``cut_short`` the process dies after asking, and another opens the file."""
    search = Search(file, SPACE, seed, first, {})
    while len(search.trials) < trials:
        number = len(search.trials) + 1
        if number in cut_short:
            search.ask()
            search = Search(file, SPACE, seed, first, {})
        values = search.ask()
        search.tell(Trial(number, values, score(values), 1.5))
    return search.trials


def test_interrupted_search_draws_what_it_would_have_drawn(tmp_path):
    whole = run(tmp_path / "whole.db", 11)
    assert run(tmp_path / "cut.db", 11, cut_short=(1, 4, 11)) == whole
    assert len({trial.values["temperature"] for trial in whole}) == 11
    assert run(tmp_path / "other.db", 3, seed=1)[1:] != whole[1:3]


def test_first_trial_has_the_values_given_and_is_drawn_without(tmp_path):
    assert run(tmp_path / "own.db", 1)[0].values == FIRST
    assert run(tmp_path / "drawn.db", 1, first=None)[0].values != FIRST


def test_first_trial_is_queued_once_by_a_process_that_dies_before_it_asks(tmp_path):
    Search(tmp_path / "sweep.db", SPACE, 0, FIRST, {})
    optuna.load_study(study_name="sweep", storage=f"sqlite:///{tmp_path / 'sweep.db'}").enqueue_trial(FIRST)
    first, second = run(tmp_path / "sweep.db", 2)
    assert first.values == FIRST and second.values != FIRST


def test_trials_are_read_back_as_they_were_told(tmp_path):
    search = Search(tmp_path / "sweep.db", SPACE, 0, FIRST, {"a": [1.0, 2.0]})
    told = [Trial(1, search.ask(), [0.5, 0.7], 2.5)]
    search.tell(told[0])
    told.append(Trial(2, search.ask(), [], 0.5))
    search.tell(told[1])
    assert Search(tmp_path / "sweep.db", SPACE, 0, FIRST, {"a": [1.0, 2.0]}).trials == told
    assert [trial.score for trial in told] == [pytest.approx(0.6), None]
    assert settings_of(tmp_path / "sweep.db") == {"a": [1.0, 2.0]}


def test_search_finds_what_is_better(tmp_path):
    trials = run(tmp_path / "sweep.db", 20)
    scores = [trial.score for trial in trials if trial.score is not None]
    # Until it knows of ten, the sampler draws at random.
    assert np.mean(scores[-8:]) > np.mean(scores[:10])
    assert all(1 <= trial.values["temperature"] <= 8 for trial in trials)


def test_temperature_is_spread_by_its_logarithm(tmp_path):
    search = Search(tmp_path / "sweep.db", {"temperature": Range(1, 64, log=True)}, 0, None, {})
    drawn = []
    for number in range(1, 7):
        drawn.append(search.ask()["temperature"])
        search.tell(Trial(number, {"temperature": drawn[-1]}, [0.5], 0.0))
    # Evenly drawn, one in nine would be below 8, and half of them are.
    assert sum(value < 8 for value in drawn) >= 2


def test_no_file_has_no_settings_and_a_broken_one_is_named(tmp_path):
    assert settings_of(tmp_path / "sweep.db") is None
    assert not (tmp_path / "sweep.db").exists()
    (tmp_path / "sweep.db").write_text("not a database, but text that is longer than its header " * 3)
    with pytest.raises(InputError, match=r"sweep\.db.*damaged.*--overwrite_output_dir"):
        settings_of(tmp_path / "sweep.db")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"temperature": 2.0, "soft_target_weight": 0.5, "learning_rate": 1e-3}),
        ({"soft_target_weight": 0.7, "hard_target_weight": 0.3}, "inside"),
        ({"temperature": 9.0}, None),
        ({"soft_target_weight": 1.0}, None),
        ({"soft_target_weight": 0.05, "hard_target_weight": 0.95}, None),
        ({"learning_rate": 1.0}, None),
    ],
    ids=str,
)
def test_own_values_are_those_in_the_ranges(make_arguments, changes, expected):
    sweep = SweepArguments(soft_target_weight_range=[0.1, 1], learning_rate_range=[1e-4, 1e-2])
    values = own_values(make_arguments(**changes), search_space(sweep))
    if expected == "inside":
        assert values is not None and values["soft_target_weight"] == 0.7
    else:
        assert values == expected
