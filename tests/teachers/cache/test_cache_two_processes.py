"""Two processes share the work of building, fail together, and train as with a live teacher."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(HERE / "two_process_builds.py"), str(tmp_path_factory.mktemp("two"))]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("task", ["classes", "tokens", "sequence to sequence, BART"])
def test_each_step_is_that_of_the_live_teacher(task, found):
    training = found["trainings"][task]
    assert len(training["cached"]) == 3
    for step, live_step in zip(training["cached"], training["live"], strict=True):
        assert step == pytest.approx(live_step, rel=1e-5)
    assert training["gradients"] < 1e-5
    # 24 rows in batches of 4, and each looks at the shortest row before.
    assert training["forwards"] == [1 + 3, 1 + 3]


def test_a_fault_in_one_process_stops_both(found):
    name, *messages = found["faults"]["damaged"]
    assert messages[0] == messages[1]
    assert messages[0][0] == "DamagedFile" and f"{name}' is damaged" in messages[0][1]
    main, other = found["faults"]["mismatch"]
    assert main == other and main[0] == "CacheMismatch" and "weights" in main[1]
    main, other = found["faults"]["failing"]
    assert "ZeroDivisionError" in main and "ZeroDivisionError" in other


def test_a_process_that_does_not_see_the_files_of_the_other_yet(found):
    assert found["faults"]["stale"] == [24] * 4


def test_damaged_answers_of_an_unfinished_cache_are_made_again(found):
    assert max(found["faults"]["repaired"]) < 1e-5
