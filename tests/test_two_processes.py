"""Two processes give the gradients, the losses and the order of one; they are started once for all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import PaddingCollator
from safetensors.torch import load_file
from two_processes.cases import CASES, expected_gradient, expected_task_loss, make_trainer, relative_difference
from two_processes.shard_models import SHARDED, WAYS
from two_processes.train_cases import CUTS, ORDERS, rows_in_some_order

HERE = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the worker wrote, for each process: its tensors and its results."""
    folder = tmp_path_factory.mktemp("two_processes")
    own = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(HERE / "two_processes" / "worker.py"), str(folder)]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    return [
        (load_file(folder / f"tensors-{rank}.safetensors"), json.loads((folder / f"results-{rank}.json").read_text()))
        for rank in range(2)
    ]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_gradients_and_losses_of_one(name, found):
    """Also in the last step, where one process has 3 rows and one repeat, and the other repeats alone."""
    case = CASES[name]
    rows = list(case.rows())
    steps = [expected_gradient(case, rows[:8]), expected_gradient(case, rows[8:])]
    for cut in CUTS:
        for tensors, results in found:
            gradients = tensors[f"{name}/{cut}"]
            assert len(gradients) == 2
            for gradient, (expected, _) in zip(gradients, steps, strict=True):
                assert relative_difference(gradient, expected) < 1e-5
            logs = results[f"{name}/{cut}"]["logs"]
            assert [log["loss"] for log in logs] == pytest.approx([loss for _, loss in steps], rel=1e-5)


def test_the_terms_are_averaged_over_processes(found, tmp_path):
    for name in ("token", "example, no labels"):
        trainer, _ = make_trainer(CASES[name], tmp_path, per_device_train_batch_size=8)
        trainer.train()
        alone = [logs for logs in trainer.state.log_history if "loss" in logs]
        for cut in CUTS:
            for log, expected in zip(found[0][1][f"{name}/{cut}"]["logs"], alone, strict=True):
                terms = [term for term in expected if term.endswith("_loss")]
                assert terms
                for term in terms:
                    assert log[term] == pytest.approx(expected[term], rel=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.has_labels])
def test_eval_loss_does_not_depend_on_processes(name, found):
    case = CASES[name]
    expected = expected_task_loss(case, list(case.rows()))
    for cut in CUTS:
        for _, results in found:
            assert results[f"{name}/{cut}"]["eval_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_the_rows_is_that_of_one_process(order, found, tmp_path):
    """At equal weights every step's gradient tells which rows were in it."""
    trainer, recorder = make_trainer(
        CASES["token"], tmp_path, per_device_train_batch_size=4, train_sampling_strategy=order, num_train_epochs=2
    )
    trainer.train_dataset = rows_in_some_order()
    trainer.train()
    alone = torch.stack(recorder.gradients)
    together = found[0][0][order]
    assert together.shape == alone.shape
    assert relative_difference(alone[:11], alone[11:]) > 0.1
    for gradient, expected in zip(together, alone, strict=True):
        assert relative_difference(gradient, expected) < 1e-5


def test_repeated_rows_count_once_after_a_resume_too(found):
    case = CASES["token"]
    expected, _ = expected_gradient(case, list(case.rows())[8:])
    [gradient] = found[0][0]["resumed"]
    assert relative_difference(gradient, expected) < 1e-5


def test_repeated_rows_of_a_stream_count_once(found):
    case = CASES["token"]
    rows = list(case.rows())
    for gradient, part in zip(found[0][0]["stream"], (rows[:8], rows[8:]), strict=True):
        assert relative_difference(gradient, expected_gradient(case, part)[0]) < 1e-5


def test_predictions_keep_the_order_of_the_rows(found, tmp_path):
    case = CASES["token"]
    trainer, _ = make_trainer(case, tmp_path, PaddingCollator(16), per_device_eval_batch_size=16)
    alone = trainer.predict(case.rows())
    torch.testing.assert_close(found[0][0]["predictions"], torch.tensor(alone.predictions), rtol=1e-4, atol=1e-5)
    assert found[0][1]["test_loss"] == pytest.approx(alone.metrics["test_loss"], rel=1e-5)


def test_the_teacher_is_not_wrapped(found):
    for _, results in found:
        assert results["student is wrapped"]
        assert not results["teacher is wrapped"]


@pytest.mark.parametrize("name", SHARDED)
@pytest.mark.parametrize("way", WAYS)
def test_sharded_student_and_teacher_give_the_gradients_of_whole_ones(name, way, found):
    case = CASES[name]
    expected, _ = expected_gradient(case, list(case.rows())[:8])
    layers = {"student": 2, "teacher": 3}
    for tensors, results in found:
        assert relative_difference(tensors[f"{name}/{way}"], expected) < 1e-6
        result = results[f"{name}/{way}"]
        assert result["teacher is frozen"] and result["teacher is in eval mode"]
        for role, share in result["held here"].items():
            assert share == pytest.approx(0.5, abs=0.01)
            assert result["units"][role] > layers[role]
