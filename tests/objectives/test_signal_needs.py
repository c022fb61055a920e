"""What no term asks for is neither computed nor stored, at any step."""

from contextlib import contextmanager

import pytest
from conftest import PaddingCollator
from invariance_cases import all_needs, make_trainer, pair_for, rows_of

import hf_distill.asking
from hf_distill import cache_teacher_outputs
from hf_distill.errors import InputError
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Relations,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
)
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds


@pytest.fixture
def asked(monkeypatch):
    """What each forward of student and teacher was asked for: the options, and the needs of each recording."""
    recorded = []
    original = hf_distill.asking.recording_attention

    @contextmanager
    def noted(model, needs):
        recorded.append((model.config.num_hidden_layers, needs))
        with original(model, needs) as attention:
            yield attention

    monkeypatch.setattr(hf_distill.asking, "recording_attention", noted)

    def run(objective, folder, name="all", teacher=None, max_steps=1):
        student, model = pair_for(name)
        forwards = {"student": [], "teacher": []}
        for who, asked_model in (("student", student), ("teacher", model)):
            asked_model.register_forward_pre_hook(
                lambda module, args, kwargs, who=who: forwards[who].append(kwargs), with_kwargs=True
            )
        recorded.clear()
        trainer, _ = make_trainer(objective, (student, teacher or model), rows_of(), folder, max_steps=max_steps)
        trainer.train()
        states = {who: ["output_hidden_states" in kwargs for kwargs in found] for who, found in forwards.items()}
        return states, list(recorded)

    return run


def objective(*terms):
    return DistillationObjective(terms)


def test_answers_alone(asked, tmp_path):
    states, recorded = asked(objective(SoftTargets(), HardTargets(), HiddenStates(weight=0)), tmp_path)
    assert states == {"student": [False], "teacher": [False]} and not recorded


def test_labels_alone_need_no_teacher(asked, tmp_path):
    states, recorded = asked(objective(HardTargets()), tmp_path)
    assert states == {"student": [False], "teacher": []} and not recorded


@pytest.mark.parametrize("term", [HiddenStates(), Contrast()])
def test_hidden_states(term, asked, tmp_path):
    states, recorded = asked(objective(term), tmp_path)
    assert states == {"student": [True], "teacher": [True]} and not recorded


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        (AttentionTransfer(), ("queries", "keys", "position_biases")),
        (Relations(relations=("value-value",)), ("values",)),
        (Relations(relations=("query-key", "query-query")), ("queries", "keys")),
    ],
)
def test_parts_of_attention(term, parts, asked, tmp_path):
    states, recorded = asked(objective(term), tmp_path)
    assert states == {"student": [False], "teacher": [False]}
    assert recorded == [(layers, SignalNeeds(**dict.fromkeys(parts, frozenset({layers})))) for layers in (2, 3)]


def test_a_weight_that_is_0_at_a_step_costs_nothing_there(asked, tmp_path):
    late = Schedule(0.0, 1.0, shape="step", begin=0.5)
    early = Schedule(1.0, 0.0, shape="step", begin=0.25)
    states, recorded = asked(
        objective(HardTargets(), HiddenStates(weight=late), AttentionTransfer(weight=early)), tmp_path, max_steps=4
    )
    assert states["student"] == [False, False, True, True]
    # The second step has hard targets alone, so the teacher is not asked at all.
    assert states["teacher"] == [False, True, True]
    assert [layers for layers, _ in recorded] == [2, 3]


def test_each_stage_asks_for_its_own(asked, tmp_path):
    stages = Stages([Stage(objective(HiddenStates()), 0.5), Stage(objective(SoftTargets()), 0.5)])
    states, _ = asked(stages, tmp_path, max_steps=4)
    assert states == {"student": [True, True, False, False], "teacher": [True, True, False, False]}


def test_evaluation_asks_for_nothing(tmp_path):
    pair = pair_for("all")
    trainer, _ = make_trainer(objective(HiddenStates(), AttentionTransfer()), pair, rows_of(), tmp_path)
    forwards = []
    trainer.model.register_forward_pre_hook(lambda module, args, kwargs: forwards.append(kwargs), with_kwargs=True)
    trainer.evaluate(rows_of())
    assert forwards and not any("output_hidden_states" in kwargs for kwargs in forwards)


# ---- Stored answers ----


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """With whatever any objective asks for."""
    _, teacher = pair_for("all")
    folder = tmp_path_factory.mktemp("cache")
    return cache_teacher_outputs(teacher, rows_of(), folder, PaddingCollator(), needs=all_needs())


@pytest.mark.parametrize(
    ("needs", "fields"),
    [
        (NOTHING_ELSE, {"logits"}),
        (SignalNeeds(hidden_states=frozenset({2})), {"logits", "hidden_state_2"}),
        (SignalNeeds(values=frozenset({3})), {"logits", "value_3"}),
        (SignalNeeds.scores(frozenset({2})), {"logits", "query_2", "key_2", "scaling_2"}),
    ],
)
def test_a_batch_carries_what_is_asked_for(needs, fields, cached):
    student, _ = pair_for("all")
    cached.pair_with(student, needs)
    plain, rows = PaddingCollator(), list(rows_of(4))
    added = set(cached.collator(plain)(rows)) - set(plain(rows))
    assert added == {cached._cache.entry(field) for field in fields}


def test_a_cache_answers_without_its_teacher_in_every_stage(cached, asked, tmp_path):
    terms = (HiddenStates(layer_mapping="auto"), Relations(), AttentionTransfer())
    stages = Stages([Stage(objective(*terms), 0.5), Stage(objective(SoftTargets()), 0.5)])
    states, recorded = asked(stages, tmp_path, teacher=cached, max_steps=2)
    assert states == {"student": [True, False], "teacher": []}
    assert [layers for layers, _ in recorded] == [2]


# ---- Models that cannot give it ----


def test_an_objective_in_python_goes_before_that_of_the_arguments(tmp_path):
    given = objective(SoftTargets(temperature=5.0), name_of_another())
    arguments = {"hidden_state_weight": 1.0, "temperature": 2.0, "max_steps": 1}
    trainer, _ = make_trainer(given, pair_for("all"), rows_of(), tmp_path, **arguments)
    trainer.train()
    assert trainer.objective.term_names == ("soft_target_loss", "mine")
    assert trainer.objective.objectives[0].terms[0].temperature == 5.0
    log = trainer.state.log_history[0]
    assert {name for name in log if name.endswith("_loss") or name == "mine"} == {"soft_target_loss", "mine"}
    assert log["loss"] == pytest.approx(log["soft_target_loss"] + 2 * log["mine"], rel=1e-5)
    without, _ = make_trainer(None, pair_for("all"), rows_of(), tmp_path, **arguments)
    assert without.objective.term_names == ("soft_target_loss", "hard_target_loss", "hidden_state_loss")


def name_of_another():
    return HiddenStates(weight=2.0, loss="first_token", name="mine")


def test_layers_that_are_not_there_are_refused_before_training(tmp_path):
    for term, message in (
        (HiddenStates(layer_mapping=[[1, 4]]), "teacher's layer 4"),
        (Relations(layer_mapping=[[3, 1]]), "student's layer 3"),
    ):
        with pytest.raises(InputError, match=message):
            make_trainer(objective(term), pair_for("all"), rows_of(), tmp_path)
    with pytest.raises(InputError, match="2 attention heads and the teacher 4"):
        make_trainer(objective(AttentionTransfer()), pair_for("narrow, all"), rows_of(), tmp_path)
    with pytest.raises(InputError, match="hidden_state_loss.*needs a teacher"):
        make_trainer(objective(HiddenStates()), (pair_for("all")[0], None), rows_of(), tmp_path)
