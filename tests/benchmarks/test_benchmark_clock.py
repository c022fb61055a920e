import time

import pytest

from hf_distill.benchmarks import clock as clock_module
from hf_distill.benchmarks.clock import Duration, StepClock, read_clock


@pytest.fixture
def readings(monkeypatch):
    """A clock that has moved by 10 s of CPU time and 1 s on the wall for each step that is over."""
    steps = []
    monkeypatch.setattr(clock_module, "read_clock", lambda: Duration(cpu=10.0 * len(steps), wall=1.0 * len(steps)))
    return steps


def make_steps(clock, readings, count):
    for _ in range(count):
        readings.append("step")
        clock.end_step()


def test_the_first_steps_are_left_out(readings):
    clock = StepClock(warm_up_steps=2, timed_steps=3)
    for _ in range(2):
        clock.start()
        make_steps(clock, readings, clock.total_steps)
        assert clock.total() == Duration(cpu=30.0, wall=3.0)
        assert clock.per_step() == Duration(cpu=10.0, wall=1.0)


def test_too_few_steps_are_no_result(readings):
    clock = StepClock(warm_up_steps=1, timed_steps=3)
    clock.start()
    make_steps(clock, readings, 4)
    clock.start()
    make_steps(clock, readings, 3)
    with pytest.raises(RuntimeError, match="3 steps were made where 4"):
        clock.total()


def test_cpu_time_is_that_of_work_and_not_of_waiting():
    started = read_clock()
    time.sleep(0.05)
    waited = read_clock()
    while read_clock().cpu - waited.cpu < 0.05:
        pass
    worked = read_clock()
    assert (waited - started).wall >= 0.05 > (waited - started).cpu
    assert (worked - waited).wall >= 0.04 and (worked - waited).cpu >= 0.05
