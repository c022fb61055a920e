"""Objectives after one another in one training."""

import pytest
import torch
from conftest import PaddingCollator
from invariance_cases import make_trainer, pair_for, rows_of
from transformers import TrainerCallback, get_scheduler, set_seed

from hf_distill import needs_of_teacher
from hf_distill.errors import InputError
from hf_distill.objectives import (
    AttentionTransfer,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
)
from hf_distill.objectives.stage_schedule import scheduler_of_stages
from hf_distill.signal_needs import SignalNeeds


def objective(*terms):
    return DistillationObjective(terms)


LAYERS = objective(HiddenStates(loss="mse", layer_mapping="auto"))
ANSWERS = objective(SoftTargets(temperature=Schedule(4.0, 2.0)), HardTargets())
MAPS = objective(AttentionTransfer(), HardTargets(weight=0.5))
THREE = Stages([Stage(LAYERS, 0.5, 2e-2), Stage(MAPS, 0.25), Stage(ANSWERS, 0.25, 5e-3)])


def test_each_step_belongs_to_one_stage():
    assert THREE.boundaries(8) == [0, 4, 6, 8]
    assert [THREE.number_at(step, 8) for step in range(9)] == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    thirds = Stages([Stage(LAYERS, 1 / 3), Stage(MAPS, 1 / 3), Stage(ANSWERS, 1 / 3)])
    assert thirds.boundaries(10) == [0, 3, 7, 10]
    assert [THREE.at(step, 8).term_names[0] for step in (0, 3, 4, 6)] == [
        "hidden_state_loss",
        "hidden_state_loss",
        "attention_loss",
        "soft_target_loss",
    ]


def test_schedules_run_from_the_stages_beginning_to_its_end():
    stages = Stages([Stage(LAYERS, 0.5), Stage(ANSWERS, 0.5)])
    temperatures = [stages.at(step, 8).terms[0].temperature for step in (4, 5, 6, 7)]
    assert temperatures == pytest.approx([4.0, 3.5, 3.0, 2.5])


def test_what_all_stages_need_together():
    assert THREE.term_names == ("hidden_state_loss", "attention_loss", "hard_target_loss", "soft_target_loss")
    assert THREE.needs_teacher and THREE.looks_inside and THREE.aligns_tokens and not THREE.always_needs_answers
    assert Stages.of(ANSWERS).always_needs_answers and not Stages.of(ANSWERS).looks_inside
    assert Stages.of(THREE) is THREE
    student, teacher = pair_for("all")
    three = frozenset({3})
    expected = SignalNeeds(hidden_states=frozenset({0, 2, 3})) | SignalNeeds.scores(three)
    assert needs_of_teacher(THREE, student, teacher) == expected
    assert needs_of_teacher(ANSWERS, student, teacher) == SignalNeeds()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "no stages"),
        ([Stage(LAYERS, 0.5), Stage(ANSWERS, 0.4)], r"\[0.5, 0.4\].*add up to 1"),
        ([Stage(LAYERS, 1.5), Stage(ANSWERS, -0.5)], "above 0"),
        ([Stage(LAYERS, 1.0, -1e-3)], "learning rates are .*0 or more"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages, message):
    with pytest.raises(InputError, match=message):
        Stages(stages)


class LearningRates(TrainerCallback):
    """Those that the optimiser uses in each step."""

    def __init__(self):
        self.found = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.found.append([group["lr"] for group in optimizer.param_groups])


def trainer_of(stages, folder, pair="all", dropout=0.0, **arguments):
    """Eight steps of six rows each, a checkpoint at each."""
    defaults = {"learning_rate": 1e-2, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
    defaults |= {"max_steps": 8, "save_strategy": "steps", "save_steps": 1, "train_sampling_strategy": "random"}
    pair = pair_for(pair, dropout=dropout)
    return make_trainer(stages, pair, rows_of(24), folder, PaddingCollator(), **{**defaults, **arguments})[0]


@pytest.mark.parametrize(
    ("kind", "warmup", "options"),
    [
        ("linear", 0.5, {}),
        ("cosine", 1, {}),
        ("constant_with_warmup", 2, {}),
        ("cosine_with_min_lr", 0, {"min_lr": 1e-3}),
    ],
)
def test_the_learning_rate_warms_up_and_decays_in_each_stage(kind, warmup, options, tmp_path):
    schedule = {"lr_scheduler_type": kind, "warmup_steps": warmup, "lr_scheduler_kwargs": options}
    trainer = trainer_of(THREE, tmp_path, save_strategy="no", **schedule)
    rates = LearningRates()
    trainer.add_callback(rates)
    trainer.train()
    expected = []
    for rate, steps in ((2e-2, 4), (1e-2, 2), (5e-3, 2)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        scheduler = get_scheduler(kind, optimizer, int(warmup * steps) if warmup < 1 else warmup, steps, options)
        for _ in range(steps):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    for group in range(len(rates.found[0])):
        assert [step[group] for step in rates.found] == pytest.approx(expected)


def test_a_schedule_that_depends_on_more_than_the_step_is_refused(make_arguments):
    arguments = make_arguments(lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="epoch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    with pytest.raises(InputError, match="reduce_lr_on_plateau, which cannot be started anew for each stage"):
        scheduler_of_stages(THREE, arguments, optimizer, 8)


def test_a_stages_learning_rate_needs_one_of_the_training(make_arguments):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    with pytest.raises(InputError, match="learning_rate is 0.*stage"):
        scheduler_of_stages(THREE, make_arguments(learning_rate=0.0), optimizer, 8)
    stages = Stages([Stage(LAYERS, 0.5), Stage(ANSWERS, 0.5)])
    assert scheduler_of_stages(stages, make_arguments(learning_rate=0.0), optimizer, 8).get_last_lr() == [0.0]


def test_each_stage_learns_and_logs_its_own_terms(tmp_path):
    trainer = trainer_of(THREE, tmp_path, save_strategy="no")
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    terms = [{name for name in log if name.endswith("_loss")} for log in logs]
    assert terms == (
        [{"hidden_state_loss"}] * 4
        + [{"attention_loss", "hard_target_loss"}] * 2
        + [{"soft_target_loss", "hard_target_loss"}] * 2
    )


@pytest.mark.parametrize("pair", ["all", "narrow, all"])
def test_resumed_in_each_stage_it_ends_with_the_same_bits(pair, tmp_path):
    """Also at the first step of a stage; with projections that only the first stage uses."""
    stages = THREE
    if pair != "all":
        stages = Stages([Stage(LAYERS, 0.5, 2e-2), Stage(ANSWERS, 0.5)])
    whole = trainer_of(stages, tmp_path, pair, dropout=0.1)
    whole.train()
    for step in (2, 4, 7):
        # A new process would know nothing of the old one's random numbers.
        set_seed(9)
        resumed = trainer_of(stages, tmp_path, pair, dropout=0.1, save_strategy="no")
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert resumed.state.global_step == 8
        for weight, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(weight, other)
        if pair != "all":
            for weight, other in zip(whole.projections.parameters, resumed.projections.parameters, strict=True):
                assert torch.equal(weight, other)
