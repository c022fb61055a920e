import math

import pytest
import torch
from accelerate import Accelerator
from conftest import tiny_bert
from interrupted.small_run import make_trainer
from transformers import TrainerCallback

from hf_distill.loss_monitor import LossMonitor, raise_if_weights_not_finite

NAMES = ("soft_target_loss", "hard_target_loss")


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(cpu=True)


def monitor_of(steps, first_step=1):
    """A monitor that has seen ``steps``: for each a list of micro-batches, each the values of the terms."""
    monitor = LossMonitor(NAMES, torch.device("cpu"))
    add(monitor, steps, first_step)
    return monitor


def add(monitor, steps, first_step=1):
    for number, micro_batches in enumerate(steps, start=first_step):
        monitor.start_step(NAMES)
        for values in micro_batches:
            monitor.add(dict(zip(NAMES, map(torch.tensor, values), strict=True)), number)


# ---- Averages ----


def test_averages_are_over_steps_and_sums_over_micro_batches(accelerator):
    steps = [[(1.0, 2.0), (3.0, 4.0)], [(5.0, 6.0)], [(7.0, 8.0), (9.0, 10.0)]]
    averages = monitor_of(steps).averages(accelerator)
    assert averages == pytest.approx({"soft_target_loss": 25 / 3, "hard_target_loss": 30 / 3})


def test_averages_start_anew(accelerator):
    monitor = monitor_of([[(1.0, 2.0)]])
    monitor.averages(accelerator)
    add(monitor, [[(3.0, 4.0)], [(5.0, 6.0)]])
    assert monitor.averages(accelerator) == {"soft_target_loss": 4.0, "hard_target_loss": 5.0}


def test_no_steps_no_averages(accelerator):
    assert monitor_of([]).averages(accelerator) == {}


def test_no_gradient_is_kept(accelerator):
    monitor = LossMonitor(("soft_target_loss",), torch.device("cpu"))
    monitor.start_step(monitor.names)
    monitor.add({"soft_target_loss": torch.ones((), requires_grad=True) * 2}, 1)
    assert not monitor._sums.requires_grad


# ---- Losses that are not finite ----


def test_finite_losses_pass(accelerator):
    monitor = monitor_of([[(1.0, 2.0)], [(1e30, -3.0)]])
    monitor.raise_if_not_finite(accelerator)
    assert monitor.averages(accelerator) == pytest.approx({"soft_target_loss": 5e29, "hard_target_loss": -0.5})


@pytest.mark.parametrize("bad, shown", [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_the_first_bad_step_is_named_with_the_value_of_each_term(accelerator, bad, shown):
    steps = [[(1.0, 2.0)], [(0.5, 0.25), (bad, 0.5), (0.5, 0.75)], [(math.nan, math.nan)], [(1.0, 1.0)]]
    monitor = monitor_of(steps, first_step=11)
    expected = rf"not finite at step 12 \(soft_target_loss={shown}, hard_target_loss=1\.5\)"
    with pytest.raises(FloatingPointError, match=expected):
        monitor.raise_if_not_finite(accelerator)


def test_it_is_remembered_beyond_a_log(accelerator):
    monitor = monitor_of([[(math.nan, 1.0)]])
    monitor.averages(accelerator)
    add(monitor, [[(1.0, 1.0)]], first_step=2)
    with pytest.raises(FloatingPointError, match="step 1 "):
        monitor.raise_if_not_finite(accelerator)


# ---- Weights that are not finite ----


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_weight_is_named(bad):
    model = tiny_bert()
    raise_if_weights_not_finite(model, 3)
    with torch.no_grad():
        model.bert.encoder.layer[2].output.dense.weight[1, 1] = bad
    with pytest.raises(FloatingPointError, match=r"bert\.encoder\.layer\.2\.output\.dense\.weight.*after step 3"):
        raise_if_weights_not_finite(model, 3)


def test_weights_that_are_integers_are_left_alone():
    model = tiny_bert()
    model.register_parameter("count", torch.nn.Parameter(torch.tensor([2**31]), requires_grad=False))
    raise_if_weights_not_finite(model, 0)
    assert model.get_parameter("count").item() == 2**31


# ---- In a run ----


class BreakTeacher(TrainerCallback):
    """From a step on the teacher's answers are NaN, so the loss is."""

    def __init__(self, step, value=math.nan):
        self.step, self.value, self.teacher = step, value, None

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            with torch.no_grad():
                self.teacher.classifier.bias[0] = self.value


class BreakGradient(TrainerCallback):
    """The loss of a step is finite, its gradient is not."""

    def __init__(self, step):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        if state.global_step + 1 == self.step:
            model.classifier.weight.grad[0, 0] = math.nan


def break_run(folder, callback, **arguments):
    trainer = make_trainer(folder, [callback], **arguments)
    callback.teacher = trainer.teacher.model
    with pytest.raises(FloatingPointError) as error:
        trainer.train()
    return trainer, str(error.value)


def checkpoints_are_finite(folder):
    """The checkpoints that were left, all of which must be sound."""
    left = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in left:
        model = type(tiny_bert()).from_pretrained(checkpoint)
        assert all(weight.isfinite().all() for weight in model.parameters())
    return [checkpoint.name for checkpoint in left]


def test_a_bad_loss_stops_the_run_at_the_next_log(tmp_path):
    trainer, message = break_run(tmp_path, BreakTeacher(5), logging_steps=2, save_strategy="no")
    assert "not finite at step 5 (soft_target_loss=nan, hard_target_loss=" in message
    assert trainer.state.global_step == 6
    assert [log["step"] for log in trainer.state.log_history] == [2, 4]


def test_the_values_are_those_that_would_have_been_logged(tmp_path):
    whole = make_trainer(tmp_path / "whole", max_steps=5, save_strategy="no")
    whole.train()
    _, message = break_run(tmp_path / "broken", BreakTeacher(5), logging_steps=100, save_strategy="no", max_steps=5)
    expected = whole.state.log_history[4]
    assert f"hard_target_loss={expected['hard_target_loss']:g}" in message
    assert f"hidden_state_loss={expected['hidden_state_loss']:g}" in message


def test_a_bad_loss_stops_the_run_before_the_next_save(tmp_path):
    trainer, message = break_run(tmp_path, BreakTeacher(4), logging_steps=1000, save_steps=3)
    assert "step 4 " in message
    assert trainer.state.global_step == 6
    assert checkpoints_are_finite(tmp_path) == ["checkpoint-3"]


def test_a_bad_loss_that_nothing_read_stops_the_run_at_its_end(tmp_path):
    trainer, message = break_run(tmp_path, BreakTeacher(10), logging_steps=1000, save_strategy="no")
    assert "step 10 " in message
    assert trainer.state.global_step == 12


def test_an_infinite_loss_stops_the_run(tmp_path):
    _, message = break_run(tmp_path, BreakTeacher(2, math.inf), save_strategy="no")
    assert "step 2 (soft_target_loss=" in message


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
def test_a_gradient_that_is_not_finite_is_caught_before_the_save(tmp_path, max_grad_norm):
    trainer, message = break_run(
        tmp_path, BreakGradient(6), logging_steps=1000, save_steps=3, max_grad_norm=max_grad_norm
    )
    assert "is not finite after step 6" in message
    assert checkpoints_are_finite(tmp_path) == ["checkpoint-3"]


def test_a_broken_student_is_not_saved_by_hand_either(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    with torch.no_grad():
        trainer.model.classifier.bias[0] = math.nan
    with pytest.raises(FloatingPointError, match="classifier.bias"):
        trainer.save_model(tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_the_filter_of_transformers_hides_nothing(tmp_path):
    _, message = break_run(tmp_path, BreakTeacher(5), logging_nan_inf_filter=True, save_strategy="no")
    assert "step 5 " in message


def test_the_run_goes_on_from_the_last_checkpoint(tmp_path):
    break_run(tmp_path, BreakTeacher(5), logging_steps=1000)
    resumed = make_trainer(tmp_path, logging_steps=1000)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 12
    assert checkpoints_are_finite(tmp_path) == ["checkpoint-3", "checkpoint-6", "checkpoint-9", "checkpoint-12"]
