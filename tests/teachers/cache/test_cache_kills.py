"""A build can be killed at any moment, and two may run at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS, SHARDS = 20, 20


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    script = Path(__file__).with_name("killed_builds.py")
    own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(script), str(tmp_path_factory.mktemp("kills")), str(KILLS)]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_20_kills_lose_nothing_that_was_stored(found):
    assert len(found["shards_left"]) == KILLS
    assert found["last"] == 0, found["log"]
    # They were killed in the middle, and each went on with what the one before had left.
    in_the_middle = [number for number in found["shards_left"] if 0 < number < SHARDS]
    assert len(in_the_middle) >= KILLS // 3
    assert len(set(found["answers"])) == 1
    assert found["left_over"] == []


def test_two_builds_at_once_are_one(found):
    """The second waits for the first and then uses its cache."""
    assert found["together"] == [0, 0], found["log"]
    assert found["shards_of_two"] == SHARDS
    assert found["log"].count("waiting for it") == 1
