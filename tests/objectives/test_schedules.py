import math

import pytest

from hf_distill.errors import InputError
from hf_distill.objectives import DistillationObjective, HardTargets, HiddenStates, Schedule, SoftTargets
from hf_distill.schedules import extremes, value_at


def test_linear():
    schedule = Schedule(8.0, 2.0)
    assert [schedule(done) for done in (0, 0.25, 0.5, 1)] == pytest.approx([8, 6.5, 5, 2])
    part = Schedule(0.0, 1.0, begin=0.2, finish=0.6)
    assert [part(done) for done in (0, 0.2, 0.3, 0.6, 0.9)] == pytest.approx([0, 0, 0.25, 1, 1])


def test_cosine_is_slow_at_both_ends():
    schedule = Schedule(1.0, 3.0, shape="cosine", begin=0.5)
    for done in (0.0, 0.5, 0.6, 0.75, 0.9, 1.0):
        angle = math.pi * max(done - 0.5, 0) / 0.5
        assert schedule(done) == pytest.approx(1 + (1 - math.cos(angle)))


def test_step():
    schedule = Schedule(1.0, 0.0, shape="step", begin=0.3)
    assert [schedule(done) for done in (0, 0.29, 0.3, 1)] == [1, 1, 0, 0]


def test_a_change_that_takes_no_time():
    schedule = Schedule(1.0, 0.5, begin=0.4, finish=0.4)
    assert [schedule(done) for done in (0.39, 0.4)] == [1, 0.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": "round"}, "shape is 'round'; use one of linear, cosine, step"),
        ({"begin": 0.6, "finish": 0.5}, "begins at 0.6 and is over at 0.5"),
        ({"begin": -0.1}, "begins at -0.1"),
        ({"finish": 1.1}, "over at 1.1"),
        ({"end": math.nan}, "from 1.0 to nan"),
        ({"start": math.inf}, "from inf to 0.0"),
    ],
)
def test_what_is_out_of_range_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Schedule(**{"start": 1.0, "end": 0.0, **values})


def test_a_number_is_a_schedule_that_never_changes():
    assert (value_at(3.0, 0.7), extremes(3.0)) == (3.0, (3.0, 3.0))
    assert (value_at(Schedule(1.0, 3.0), 0.5), extremes(Schedule(3.0, 1.0))) == (2.0, (1.0, 3.0))


def test_an_objective_at_a_time_has_no_schedules():
    objective = DistillationObjective(
        [
            SoftTargets(weight=Schedule(1.0, 0.0, shape="step", begin=0.5), temperature=Schedule(8.0, 2.0)),
            HardTargets(weight=Schedule(0.0, 1.0)),
            HiddenStates(weight=0.3),
        ]
    )
    early, late = objective.at(0.25), objective.at(0.75)
    assert early.term_names == ("soft_target_loss", "hard_target_loss", "hidden_state_loss")
    assert early.terms[0] == SoftTargets(weight=1.0, temperature=6.5)
    assert early.terms[1].weight == 0.25
    assert late.term_names == ("hard_target_loss", "hidden_state_loss")
    assert objective.at(0.0).term_names == ("soft_target_loss", "hidden_state_loss")
