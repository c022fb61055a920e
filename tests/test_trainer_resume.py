"""A resumed run ends with the same bits as one that was never interrupted."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from interrupted.small_run import STEPS, STEPS_PER_EPOCH, InterruptAt, Interrupted, digest, make_trainer
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed
from transformers.utils import logging

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError

MID_EPOCH, EPOCH_BOUNDARY = STEPS_PER_EPOCH - 2, STEPS_PER_EPOCH + 1
"""Steps at which a run is interrupted, one after its last checkpoint."""


@pytest.fixture(autouse=True, scope="module")
def _without_progress_bars():
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def run_whole(folder, callbacks=lambda: (), **arguments):
    trainer = make_trainer(folder, callbacks(), **arguments)
    trainer.train()
    return trainer


def run_interrupted(folder, at_step, callbacks=lambda: (), **arguments):
    trainer = make_trainer(folder, [*callbacks(), InterruptAt(at_step)], **arguments)
    with pytest.raises(Interrupted):
        trainer.train()
    # A new process would know nothing of the old one's random numbers.
    set_seed(9)


def resume(folder, callbacks=lambda: (), **arguments):
    trainer = make_trainer(folder, callbacks(), **arguments)
    trainer.train(resume_from_checkpoint=True)
    return trainer


def interrupt_and_resume(folder, at_step, callbacks=lambda: (), **arguments):
    run_interrupted(folder, at_step, callbacks, **arguments)
    return resume(folder, callbacks, **arguments)


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """The digest of the weights of an uninterrupted run, by its arguments."""
    digests = {}

    def digest_of_whole_run(**arguments):
        key = json.dumps(arguments, sort_keys=True)
        if key not in digests:
            digests[key] = digest(run_whole(tmp_path_factory.mktemp("whole"), **arguments).model)
        return digests[key]

    return digest_of_whole_run


@pytest.mark.parametrize("at_step", [MID_EPOCH, EPOCH_BOUNDARY])
@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_resume_is_exact_for_every_sampling_strategy(tmp_path, whole_runs, strategy, at_step):
    resumed = interrupt_and_resume(tmp_path, at_step, train_sampling_strategy=strategy)
    assert resumed.state.global_step == STEPS
    assert digest(resumed.model) == whole_runs(train_sampling_strategy=strategy)


def test_the_weights_depend_on_the_order_and_on_dropout(whole_runs):
    digests = {whole_runs(train_sampling_strategy=name) for name in ("random", "sequential", "group_by_length")}
    assert len(digests | {whole_runs(train_sampling_strategy="random", seed=1)}) == 4


def test_batch_rebalance_is_refused(tmp_path):
    with pytest.raises(InputError, match="batch_rebalance.*group_by_length"):
        make_trainer(tmp_path, train_sampling_strategy="batch_rebalance")


@pytest.mark.parametrize(
    "arguments",
    [
        # 22 rows: 6 batches of 4, cut into 4 + 2, and the last one is short.
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "num_train_epochs": 6, "save_steps": 1},
        {"per_device_train_batch_size": 4, "dataloader_drop_last": True, "num_train_epochs": 3, "save_steps": 2},
        {"bf16": True},
        {"activation_checkpointing": True},
        {"optim": "sgd", "optim_args": "momentum=0.9", "lr_scheduler_type": "cosine"},
    ],
    ids=["uneven_accumulation", "drop_last", "bf16", "activation_checkpointing", "momentum"],
)
def test_resume_is_exact_for_other_arguments(tmp_path, whole_runs, arguments):
    resumed = interrupt_and_resume(tmp_path, MID_EPOCH, **arguments)
    assert digest(resumed.model) == whole_runs(**arguments)


def test_an_evaluation_after_the_checkpoint_does_not_change_what_follows(tmp_path, whole_runs):
    """Saved inside the last step of an epoch, evaluated at its end: the resumed run does not evaluate again."""
    arguments = {"eval_strategy": "epoch"}
    resumed = interrupt_and_resume(tmp_path, EPOCH_BOUNDARY, **arguments)
    assert digest(resumed.model) == whole_runs(**arguments) == whole_runs()


def test_the_resumed_part_is_logged_as_in_the_uninterrupted_run(tmp_path):
    whole = run_whole(tmp_path / "whole")
    resumed = interrupt_and_resume(tmp_path / "interrupted", MID_EPOCH)
    losses = [
        [{name: log[name] for name in log if name.endswith("loss") or name == "step"} for log in history]
        for history in (whole.state.log_history[:-1], resumed.state.log_history[:-1])
    ]
    assert losses[0] == losses[1]


# ---- Early stopping ----

STOPPING = {
    "eval_strategy": "steps",
    "eval_steps": 3,
    "load_best_model_at_end": True,
    "learning_rate": 3e-2,
    "num_train_epochs": 6,
}


def patience():
    return [EarlyStoppingCallback(2)]


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    return run_whole(tmp_path_factory.mktemp("stopped"), patience, **STOPPING)


def test_patience_survives_a_resume(tmp_path, stopped_run):
    last_step = stopped_run.state.global_step
    assert last_step < stopped_run.state.max_steps
    assert stopped_run.state.best_global_step < last_step - 3
    resumed = interrupt_and_resume(tmp_path, last_step - 1, patience, **STOPPING)
    assert resumed.state.global_step == last_step
    assert digest(resumed.model) == digest(stopped_run.model)


def test_a_run_that_early_stopping_has_ended_is_not_trained_further(tmp_path, stopped_run):
    run_whole(tmp_path, patience, **STOPPING)
    resumed = resume(tmp_path, patience, **STOPPING)
    assert resumed.state.global_step == stopped_run.state.global_step
    assert digest(resumed.model) == digest(stopped_run.model)


def test_patience_can_be_renewed(tmp_path, stopped_run):
    run_whole(tmp_path, patience, **STOPPING)
    resumed = resume(tmp_path, patience, restore_callback_states_from_checkpoint=False, **STOPPING)
    assert resumed.state.global_step > stopped_run.state.global_step


def test_a_second_training_is_not_held_back_by_the_patience_that_the_first_one_lost(tmp_path):
    trainer = run_whole(tmp_path, patience, **STOPPING)
    assert trainer.train().global_step >= 3


# ---- Torn checkpoints ----


class CutShort(TrainerCallback):
    """After each save from ``step`` on, leave the checkpoint as a kill while writing ``file_name`` would."""

    ORDER = (
        "config.json",
        "model.safetensors",
        "training_args.bin",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
    )

    def __init__(self, step, file_name):
        self.step, self.file_name = step, file_name

    def on_save(self, args, state, control, **kwargs):
        if state.global_step < self.step:
            return
        folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
        assert sorted(self.ORDER) == sorted(path.name for path in folder.iterdir())
        place = self.ORDER.index(self.file_name)
        content = (folder / self.file_name).read_bytes()
        (folder / self.file_name).write_bytes(content[: len(content) // 2])
        for name in self.ORDER[place + 1 :]:
            (folder / name).unlink()
        raise Interrupted


@pytest.mark.parametrize("file_name", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_torn_checkpoint_is_skipped_and_named(tmp_path, whole_runs, caplog, file_name):
    trainer = make_trainer(tmp_path, [CutShort(STEPS_PER_EPOCH, file_name)])
    with pytest.raises(Interrupted):
        trainer.train()
    resumed = resume(tmp_path)
    assert [record.message for record in caplog.records if "Skipping" in record.message] == [
        "Skipping checkpoint-6, which is incomplete: trainer_state.json is not there or was cut short."
    ]
    assert digest(resumed.model) == whole_runs()


def test_without_a_complete_checkpoint_training_starts_from_the_first_step(tmp_path, whole_runs, caplog):
    trainer = make_trainer(tmp_path, [CutShort(3, "model.safetensors")])
    with pytest.raises(Interrupted):
        trainer.train()
    resumed = resume(tmp_path)
    assert "Skipping checkpoint-3" in caplog.text
    assert "There is no complete checkpoint" in caplog.text
    assert digest(resumed.model) == whole_runs()


def test_an_explicit_torn_checkpoint_is_an_error(tmp_path):
    run_interrupted(tmp_path, MID_EPOCH)
    (tmp_path / "checkpoint-3" / "optimizer.pt").unlink()
    with pytest.raises(InputError, match="checkpoint-3: optimizer.pt is not there or was cut short"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_an_explicit_checkpoint_may_have_been_moved(tmp_path, whole_runs):
    run_interrupted(tmp_path / "run", EPOCH_BOUNDARY)
    shutil.copytree(tmp_path / "run" / "checkpoint-3", tmp_path / "kept")
    trainer = make_trainer(tmp_path / "run")
    trainer.train(resume_from_checkpoint=str(tmp_path / "kept"))
    assert digest(trainer.model) == whole_runs()


def test_while_an_old_checkpoint_is_replaced_it_cannot_be_resumed_from(tmp_path):
    """It would be a mixture of two runs."""
    run_interrupted(tmp_path, EPOCH_BOUNDARY)

    class KilledAfterWeights(DistillationTrainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            if output_dir.endswith("-6"):
                raise Interrupted
            super()._save_optimizer_and_scheduler(output_dir)

    trainer = make_trainer(tmp_path, trainer_class=KilledAfterWeights, learning_rate=1e-2)
    with pytest.raises(Interrupted):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    with pytest.raises(InputError, match="trainer_state.json"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))


# ---- What checkpoints hold, and how they are read ----


def test_checkpoints_hold_no_token(tmp_path):
    token = "hf_secretOfTheUser"
    trainer = make_trainer(tmp_path, hub_token=token)
    trainer.train()
    trainer.save_model()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"training_args.bin", "trainer_state.json"} <= {path.name for path in files}
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    assert trainer.args.hub_token == token


def test_the_token_is_kept_for_the_run_when_saving_fails(tmp_path):
    trainer = make_trainer(tmp_path, hub_token="hf_secretOfTheUser")
    trainer.model.save_pretrained = None
    with pytest.raises(TypeError):
        trainer.save_model()
    assert trainer.args.hub_token == "hf_secretOfTheUser"


def test_resuming_loads_through_no_unrestricted_pickle(tmp_path, monkeypatch):
    arguments = {"eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True}
    run_interrupted(tmp_path, EPOCH_BOUNDARY, **arguments)
    loaded, load = [], torch.load

    def watched_load(path, *args, **kwargs):
        loaded.append(Path(path).name)
        assert kwargs.get("weights_only") is True
        return load(path, *args, **kwargs)

    def refuse(*args, **kwargs):
        raise AssertionError("an unrestricted pickle was loaded")

    monkeypatch.setattr(torch, "load", watched_load)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    resume(tmp_path, **arguments)
    assert sorted(loaded) == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]
