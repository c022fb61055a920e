"""Whatever the objective, the same rows give the same gradients: however they are cut into batches, padded or spread
over processes, and whether the teacher answers at once or from a cache; and a resumed run ends with the same bits.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import PaddingCollator
from invariance_cases import (
    ALL,
    PlacedCollator,
    all_needs,
    gradients_of,
    make_trainer,
    objective_of,
    pair_for,
    rows_of,
    token_pair_for,
)
from safetensors.torch import load_file
from transformers import set_seed
from two_processes.cases import relative_difference

from hf_distill import cache_teacher_outputs

HERE = Path(__file__).parent
CUTS = [(6, 2), (4, 3), (5, 3)]
"""Of a step of 12 rows; the last one into 5, 5 and 2."""

objectives = pytest.mark.parametrize("name", ALL)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def assert_same(found, expected):
    """The gradients and the losses of all steps."""
    (gradients, losses), (expected_gradients, expected_losses) = found, expected
    assert losses == pytest.approx(expected_losses, rel=1e-5, abs=1e-6)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert other.norm() > 1e-6
        assert relative_difference(gradient, other) < 1e-5


@pytest.fixture(scope="module")
def whole_batch(tmp_path_factory):
    """What one batch of all rows gives, computed once for each objective."""
    known, folder = {}, tmp_path_factory.mktemp("whole")

    def found(name):
        if name not in known:
            known[name] = gradients_of(name, folder)
        return known[name]

    return found


@objectives
def test_cuts_into_batches(name, whole_batch, tmp_path):
    for batch_size, accumulation in CUTS:
        sizes = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation}
        assert_same(gradients_of(name, tmp_path, **sizes), whole_batch(name))


@objectives
def test_padding(name, tmp_path):
    rows = rows_of(per_token=True)
    expected = gradients_of(name, tmp_path, rows, token_pair_for(name), collator=PlacedCollator())
    for collator in (PlacedCollator(multiple=16), PlacedCollator("left"), PlacedCollator("left", multiple=8)):
        assert_same(gradients_of(name, tmp_path, rows, token_pair_for(name), collator=collator), expected)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """The answers of the teacher of all objectives, with whatever any of them looks at."""
    _, teacher = pair_for("all")
    folder = tmp_path_factory.mktemp("cache")
    return cache_teacher_outputs(teacher, rows_of(), folder, PaddingCollator(), needs=all_needs(), batch_size=5)


@objectives
def test_a_cache_in_place_of_the_teacher(name, cached, whole_batch, tmp_path):
    student, _ = pair_for(name)
    sizes = {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 3}
    assert_same(gradients_of(name, tmp_path, pair=(student, cached), **sizes), whole_batch(name))


@objectives
def test_a_resumed_run_ends_with_the_same_bits(name, tmp_path):
    """With dropout, clipping and momentum, in the middle of the second epoch."""
    arguments = {
        "learning_rate": 1e-2,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "save_strategy": "steps",
        "save_steps": 4,
    }
    trained = []
    for resume in (None, str(tmp_path / "checkpoint-4")):
        pair = pair_for(name, dropout=0.1)
        trainer, _ = make_trainer(objective_of(name), pair, rows_of(), tmp_path, **arguments)
        before = [weight.clone() for weight in trainer.model.parameters()]
        set_seed(9 if resume else 42)
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.state.global_step == 6
        weights = list(trainer.model.parameters())
        assert not all(torch.equal(weight, old) for weight, old in zip(weights, before, strict=True))
        trained.append([*weights, *(trainer.projections.parameters if trainer.projections is not None else [])])
    for weight, resumed in zip(*trained, strict=True):
        assert torch.equal(weight, resumed)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("two_processes")
    own = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(HERE / "two_processes" / "objective_worker.py"), str(folder)]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    return [load_file(folder / f"objectives-{rank}.safetensors") for rank in range(2)]


@objectives
def test_two_processes(name, two_processes, tmp_path):
    """Steps of 8 and of 3 rows: in the second, one process has 3 rows and a repeated one, the other repeats alone."""
    expected = gradients_of(name, tmp_path, rows_of(11), per_device_train_batch_size=8)
    for tensors in two_processes:
        for cut in ("4x1", "2x2"):
            found = tensors[f"{name}/{cut}/gradients"], tensors[f"{name}/{cut}/losses"].tolist()
            assert_same(found, expected)
