"""Real processes: killed while they train and write, or two of which one goes wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from interrupted.small_run import digest, make_trainer

WORKERS = Path(__file__).parent / "interrupted"


def last_line(*command):
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def check_killed(results, point, whole="whole_uninterrupted"):
    assert results[point]["killed"] == -9
    assert results[point]["step"] == results[whole]["step"]
    assert results[point]["digest"] == results[whole]["digest"]


def test_killed_processes_are_resumed_exactly(tmp_path):
    points = ("after_step", "model.safetensors", "trainer_state.json", "early_stopping")
    results = last_line(sys.executable, WORKERS / "killed.py", tmp_path, *points)
    check_killed(results, "after_step")
    check_killed(results, "model.safetensors")
    check_killed(results, "trainer_state.json")
    check_killed(results, "early_stopping", "whole_early_stopping")
    assert "Skipping checkpoint-6, which is incomplete" in results["model.safetensors"]["log"]
    assert "Skipping checkpoint-6, which is incomplete" in results["trainer_state.json"]["log"]
    here = make_trainer(tmp_path / "here")
    here.train()
    assert results["whole_uninterrupted"]["digest"] == digest(here.model)


@pytest.mark.slow
def test_processes_killed_at_other_points_are_resumed_exactly(tmp_path):
    points = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "rotation", "final")
    results = last_line(sys.executable, WORKERS / "killed.py", tmp_path, *points)
    for point in points:
        check_killed(results, point)


@pytest.mark.slow
def test_a_run_killed_ten_times_at_random_moments_ends_with_the_same_weights(tmp_path):
    result = last_line(sys.executable, WORKERS / "killed.py", tmp_path, "random")["random"]
    assert result["times_killed"] >= 3
    assert result["step"] == result["whole"]["step"] == 36
    assert result["digest"] == result["whole"]["digest"]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return last_line(*launcher, WORKERS / "two_processes.py", folder)


def test_two_processes_resume_exactly_in_the_middle_of_an_epoch(two_processes):
    """Its last batches hold repeated rows, which must not count after a resume either."""
    assert two_processes["resume"]["resumed"] == two_processes["resume"]["whole"]


def test_a_loss_that_is_not_finite_in_one_process_stops_both(two_processes):
    """Seen at the save after step 6, of which nothing is left; the main process itself saw nothing bad."""
    assert "not finite at step 4 (soft_target_loss=nan, hard_target_loss=" in two_processes["not_finite"]["error"]
    assert two_processes["not_finite"]["checkpoints"] == ["checkpoint-3"]


def test_the_state_of_a_checkpoint_is_written_after_the_files_of_all_processes(two_processes):
    assert two_processes["random_states"] == [["rng_state_0.pth", "rng_state_1.pth"]]


def test_two_processes_log_the_terms_of_one(two_processes, tmp_path):
    """The same 21 rows, as the steps of one process that takes twice as many at a time."""
    trainer = make_trainer(
        tmp_path, num_rows=21, num_train_epochs=3, per_device_train_batch_size=4, save_strategy="no", logging_steps=2
    )
    for model in (trainer.model, trainer.teacher.model):
        for module in model.modules():
            if hasattr(module, "p"):
                module.p = 0.0
    trainer.train()
    single = [log for log in trainer.state.log_history if "loss" in log]
    assert len(single) == len(two_processes["logs"]) == 4
    for ours, theirs in zip(single, two_processes["logs"], strict=True):
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-4)
