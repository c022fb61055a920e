"""What users know from Trainer keeps working."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError

TERMS = ("soft_target_loss", "hard_target_loss", "hidden_state_loss")


def distil(make_arguments, callbacks=(), train=True, student=None, rows=None, eval_rows=None, **arguments):
    defaults = {"max_steps": 6, "logging_steps": 1, "per_device_train_batch_size": 4, "hidden_state_weight": 0.2}
    trainer = DistillationTrainer(
        model=student if student is not None else tiny_bert(layers=2),
        teacher_model=tiny_bert(seed=1),
        args=make_arguments(**{**defaults, **arguments}),
        train_dataset=rows if rows is not None else random_rows(22),
        eval_dataset=eval_rows if eval_rows is not None else random_rows(9, seed=5),
        data_collator=PaddingCollator(),
        callbacks=list(callbacks),
    )
    if train:
        trainer.train()
    return trainer


def plain_trainer(folder, callbacks=(), student=None, **arguments):
    """transformers' own, on the same rows."""
    defaults = {"max_steps": 6, "logging_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True}
    trainer = Trainer(
        model=student if student is not None else tiny_bert(layers=2),
        args=TrainingArguments(str(folder), **{**defaults, **quiet, **arguments}),
        train_dataset=random_rows(22),
        eval_dataset=random_rows(9, seed=5),
        data_collator=PaddingCollator(),
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


def losses(trainer, name="loss"):
    return [log[name] for log in trainer.state.log_history if name in log]


ONLY_LABELS = {"soft_target_weight": 0, "hard_target_weight": 1, "hidden_state_weight": 0}


# ---- Label smoothing ----


def test_label_smoothing_is_that_of_trainer(make_arguments, tmp_path):
    smoothed = distil(make_arguments, label_smoothing_factor=0.3, train_sampling_strategy="random", **ONLY_LABELS)
    expected = plain_trainer(tmp_path / "plain", label_smoothing_factor=0.3, save_strategy="no")
    assert losses(smoothed) == pytest.approx(losses(expected), rel=1e-5)
    assert smoothed.evaluate()["eval_loss"] == pytest.approx(float(smoothed_loss_by_hand(smoothed, 0.3)), rel=1e-5)
    for name, weight in expected.model.state_dict().items():
        torch.testing.assert_close(smoothed.model.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


def smoothed_loss_by_hand(trainer, epsilon):
    values = []
    for row in trainer.eval_dataset:
        with torch.no_grad():
            log_probs = trainer.model(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        values.append(-(1 - epsilon) * log_probs[row["labels"]] - epsilon * log_probs.mean())
    return sum(values) / len(values)


def test_label_smoothing_touches_the_hard_targets_alone(make_arguments):
    plain = distil(make_arguments, max_steps=1)
    smoothed = distil(make_arguments, max_steps=1, label_smoothing_factor=0.3)
    assert losses(plain, "soft_target_loss") == losses(smoothed, "soft_target_loss")
    assert losses(plain, "hard_target_loss") != losses(smoothed, "hard_target_loss")


def test_label_smoothing_is_refused_for_regression(make_arguments):
    with pytest.raises(InputError, match="label_smoothing_factor is 0.1.*regression"):
        distil(make_arguments, student=tiny_bert(num_labels=1), train=False, label_smoothing_factor=0.1, **ONLY_LABELS)


def test_label_smoothing_is_refused_where_only_the_rows_tell_that_classes_are_not_exclusive(make_arguments):
    rows = random_rows(8, with_labels=False).map(lambda row: {"labels": [1.0, 0.0, 1.0]})
    with pytest.raises(InputError, match="label_smoothing_factor is 0.1.*multi_label"):
        distil(make_arguments, rows=rows, label_smoothing_factor=0.1, **ONLY_LABELS)


# ---- Memory and precision ----


class KeepGradients(TrainerCallback):
    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.gradients.append({name: weight.grad.clone() for name, weight in model.named_parameters()})


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_gradients(make_arguments, use_reentrant):
    gradients = []
    for arguments in (
        {},
        {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": use_reentrant}},
    ):
        keep = KeepGradients()
        trainer = distil(make_arguments, [keep], student=tiny_bert(layers=2, dropout=0.1), max_steps=3, **arguments)
        assert trainer.model.is_activation_checkpointing == bool(arguments)
        assert not trainer.teacher.model.is_activation_checkpointing
        gradients.append(keep.gradients)
    for plain, checkpointed in zip(*gradients, strict=True):
        for name, gradient in plain.items():
            torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_gradient_checkpointing_under_its_old_name(make_arguments):
    trainer = distil(make_arguments, gradient_checkpointing=True, max_steps=1)
    assert trainer.model.is_activation_checkpointing


def test_bf16_trains_close_to_fp32(make_arguments):
    full, half = distil(make_arguments), distil(make_arguments, bf16=True)
    assert losses(half) == pytest.approx(losses(full), rel=0.02)
    assert losses(half) != losses(full)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.float32}
    assert {weight.dtype for weight in half.teacher.model.parameters()} == {torch.bfloat16}
    assert half.evaluate()["eval_loss"] == pytest.approx(full.evaluate()["eval_loss"], rel=0.02)


def test_bf16_computes_the_losses_in_fp32(make_arguments):
    """The terms must add up to the loss more closely than bf16 could tell."""
    trainer = distil(make_arguments, bf16=True)
    for log in trainer.state.log_history[:-1]:
        total = 0.5 * log["soft_target_loss"] + 0.5 * log["hard_target_loss"] + 0.2 * log["hidden_state_loss"]
        assert log["loss"] == pytest.approx(total, rel=1e-6)


@pytest.mark.slow
def test_torch_compile(make_arguments, tmp_path):
    plain = distil(make_arguments, max_steps=3)
    compiled = distil(make_arguments, max_steps=3, torch_compile=True, torch_compile_backend="aot_eager")
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-5)
    assert compiled.evaluate()["eval_loss"] == pytest.approx(plain.evaluate()["eval_loss"], rel=1e-4)
    compiled.save_model(tmp_path / "student")
    assert set(load_file(tmp_path / "student" / "model.safetensors")) == set(plain.model.state_dict())


# ---- Order of the rows ----


class KeepLengths(PaddingCollator):
    def __init__(self):
        super().__init__()
        self.lengths = []

    def __call__(self, rows):
        self.lengths.append([len(row["input_ids"]) for row in rows])
        return super().__call__(rows)


def test_grouping_by_length_pads_less(make_arguments):
    padding = {}
    for strategy in ("random", "group_by_length"):
        trainer = distil(
            make_arguments,
            train=False,
            rows=random_rows(80, longest=40),
            train_sampling_strategy=strategy,
            max_steps=20,
        )
        trainer.data_collator = KeepLengths()
        trainer.train()
        padding[strategy] = sum(max(batch) * len(batch) - sum(batch) for batch in trainer.data_collator.lengths)
    assert padding["group_by_length"] < 0.3 * padding["random"]


# ---- Evaluation while training ----

EVALUATE = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
OVERSHOOT = {**EVALUATE, "load_best_model_at_end": True, "learning_rate": 3e-2, "max_steps": 40}


def test_early_stopping_stops(make_arguments):
    trainer = distil(make_arguments, [EarlyStoppingCallback(2)], **OVERSHOOT)
    scores = losses(trainer, "eval_loss")
    best = scores.index(min(scores))
    assert len(scores) == best + 3
    assert trainer.state.global_step == 2 * len(scores) < 40


def test_the_best_student_is_loaded_at_the_end(make_arguments, tmp_path):
    trainer = distil(make_arguments, **{**OVERSHOOT, "max_steps": 12})
    scores = losses(trainer, "eval_loss")
    best_step = 2 * (scores.index(min(scores)) + 1)
    assert best_step < 12
    best = load_file(tmp_path / "out" / f"checkpoint-{best_step}" / "model.safetensors")
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, best[name])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(scores), rel=1e-6)


def test_another_metric_may_choose_the_best(make_arguments, tmp_path):
    def compute_metrics(prediction):
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    trainer = distil(
        make_arguments,
        train=False,
        **{**OVERSHOOT, "max_steps": 12, "metric_for_best_model": "accuracy", "greater_is_better": True},
    )
    trainer.compute_metrics = compute_metrics
    trainer.train()
    assert trainer.state.best_metric == max(losses(trainer, "eval_accuracy"))


def test_evaluation_never_runs_the_teacher(make_arguments):
    trainer = distil(make_arguments, train=False, **EVALUATE)
    calls = []
    trainer.teacher.model.register_forward_pre_hook(lambda *args: calls.append(trainer.state.global_step))
    trainer.evaluate()
    trainer.predict(trainer.eval_dataset)
    assert calls == []
    trainer.train()
    assert calls == [0, 1, 2, 3, 4, 5]


# ---- Callbacks and reports ----


class RecordEvents(TrainerCallback):
    """Notes every event; written out, since Trainer looks the methods up on the class."""

    def __init__(self):
        self.events = []


def _recorder(event):
    def record(self, args, state, control, **kwargs):
        self.events.append((event, state.global_step))

    return record


for _event in [name for name in vars(TrainerCallback) if name.startswith("on_")]:
    setattr(RecordEvents, _event, _recorder(_event))


def test_callbacks_are_called_as_by_trainer(make_arguments, tmp_path):
    arguments = {"gradient_accumulation_steps": 2, "eval_strategy": "epoch", "save_strategy": "steps", "save_steps": 4}
    ours, theirs = RecordEvents(), RecordEvents()
    distil(make_arguments, [ours], **arguments)
    plain_trainer(tmp_path / "plain", [theirs], **arguments)
    assert ours.events == theirs.events
    assert {"on_train_begin", "on_step_end", "on_substep_end", "on_log", "on_evaluate", "on_save", "on_train_end"} <= {
        event for event, _ in ours.events
    }


def test_a_callback_can_stop_the_run(make_arguments):
    class StopAtThree(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 3

    assert distil(make_arguments, [StopAtThree()]).state.global_step == 3


def test_tensorboard_gets_the_terms(make_arguments, tmp_path, monkeypatch):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = distil(make_arguments, report_to="tensorboard", hub_token="hf_secretOfTheUser")
    board = event_accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    for name in ("loss", *TERMS):
        events = board.Scalars(f"train/{name}")
        assert [event.step for event in events] == [1, 2, 3, 4, 5, 6]
        assert [event.value for event in events] == pytest.approx(losses(trainer, name), rel=1e-6)
    written = b"".join(path.read_bytes() for path in (tmp_path / "board").rglob("*") if path.is_file())
    assert b"hf_secretOfTheUser" not in written


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_gets_the_terms(make_arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    distil(make_arguments, report_to="wandb", run_name="test")
    import wandb

    wandb.finish()
    (written,) = tmp_path.rglob("run-*.wandb")
    for name in TERMS:
        assert f"train/{name}".encode() in written.read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_gets_the_terms(make_arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    distil(make_arguments, report_to="trackio", run_name="test")
    written = b"".join(path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file())
    for name in TERMS:
        assert f"train/{name}".encode() in written


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")
def test_hyperparameter_search_applies_the_weights_it_tries(make_arguments, tmp_path):
    trainer = DistillationTrainer(
        model_init=lambda: tiny_bert(layers=2),
        teacher_model=tiny_bert(seed=1),
        args=make_arguments(max_steps=2, logging_steps=1, eval_strategy="steps", eval_steps=2, save_strategy="steps"),
        train_dataset=random_rows(22),
        eval_dataset=random_rows(9, seed=5),
        data_collator=PaddingCollator(),
    )
    tried = []

    def space(trial):
        return {"soft_target_weight": trial.suggest_float("soft_target_weight", 1.0, 9.0)}

    class Check(TrainerCallback):
        def on_log(self, args, state, control, logs, **kwargs):
            if "loss" in logs:
                total = args.soft_target_weight * logs["soft_target_loss"] + 0.5 * logs["hard_target_loss"]
                assert logs["loss"] == pytest.approx(total, rel=1e-5)
                tried.append(args.soft_target_weight)

    trainer.add_callback(Check())
    best = trainer.hyperparameter_search(hp_space=space, n_trials=2, direction="minimize", backend="optuna")
    assert best.hyperparameters["soft_target_weight"] in tried
    assert len(tried) == 4 and len(set(tried)) == 2


# ---- What is saved ----


def test_the_student_is_an_ordinary_model(make_arguments, tmp_path):
    trainer = distil(make_arguments)
    trainer.save_model(tmp_path / "student")
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    batch = PaddingCollator()(list(random_rows(4, seed=8)))
    trainer.model.eval()
    with torch.no_grad():
        assert torch.equal(student(**batch).logits, trainer.model(**batch).logits)
    config = json.loads(Path(tmp_path / "student" / "config.json").read_text())
    assert config["num_hidden_layers"] == 2


def test_the_teacher_stays_as_it_was(make_arguments):
    trainer = distil(make_arguments, train=False)
    before = copy.deepcopy(trainer.teacher.model.state_dict())
    trainer.train()
    for name, weight in trainer.teacher.model.state_dict().items():
        assert torch.equal(weight, before[name])
