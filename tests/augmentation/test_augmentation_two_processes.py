import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_one_process_makes_the_rows_and_all_have_them(tmp_path):
    own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parent}"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(HERE / "augment_in_two_processes.py"), str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    first, second = found["rows"]
    assert first == second and len(first["texts"]) > 4
    assert found["made"] == [0]
    assert found["faults"] == ["no such model"] * 2
