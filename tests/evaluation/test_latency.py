import time

import numpy as np
import pytest
import torch

from hf_distill.evaluation.latency import MAX_ROUNDS, WARM_UP_ROUNDS, measure_speed


def wait_in_every_forward(model, seconds):
    model.register_forward_hook(lambda module, args, output: time.sleep(seconds))


def record_inputs(model, name, calls):
    model.register_forward_pre_hook(
        lambda module, args, inputs: calls.append((name, inputs["input_ids"])), with_kwargs=True
    )


def test_figures_follow_the_time_that_a_forward_takes(make_model, make_rows, collator):
    slow, fast = make_model(layers=1), make_model(layers=1)
    wait_in_every_forward(slow, 0.02)
    speeds = measure_speed({"slow": slow, "fast": fast}, make_rows(40), collator, time_budget=1.0)
    assert 20 <= speeds["slow"].latency_ms_median < 60
    assert speeds["slow"].latency_ms_median <= speeds["slow"].latency_ms_p95
    assert 32 / 0.2 < speeds["slow"].throughput <= 32 / 0.02
    assert speeds["fast"].latency_ms_median < 20
    assert speeds["fast"].throughput > speeds["slow"].throughput


def test_percentiles_are_those_of_the_timed_rounds(make_model, make_rows, collator, monkeypatch):
    durations = np.random.default_rng(0).uniform(0.001, 0.01, 2 * MAX_ROUNDS + 2 * WARM_UP_ROUNDS)
    taken = iter(durations)
    monkeypatch.setattr("hf_distill.evaluation.latency._timed_forward", lambda model, batch: next(taken))
    speed = measure_speed({"model": make_model(layers=1)}, make_rows(40), collator, time_budget=60)["model"]
    single = durations[WARM_UP_ROUNDS : WARM_UP_ROUNDS + MAX_ROUNDS] * 1e3
    batched = durations[-MAX_ROUNDS:]
    assert speed.latency_ms_median == pytest.approx(np.median(single))
    assert speed.latency_ms_p95 == pytest.approx(np.quantile(single, 0.95))
    assert speed.throughput == pytest.approx(32 / batched.mean())


def test_models_take_turns_on_the_same_rows(make_model, make_rows, collator):
    calls = []
    models = {name: make_model(layers=1) for name in ("teacher", "student", "baseline")}
    for name, model in models.items():
        record_inputs(model, name, calls)
    measure_speed(models, make_rows(40), collator, time_budget=0.0)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert [name for name, _ in rounds[0] + rounds[1]] == [
        *("teacher", "student", "baseline"),
        *("student", "baseline", "teacher"),
    ]
    for timed_round in rounds:
        assert all(torch.equal(input_ids, timed_round[0][1]) for _, input_ids in timed_round)
    assert {len(input_ids) for _, input_ids in calls} == {1, 32}


def test_rows_repeat_where_there_are_fewer_than_a_batch(make_model, make_rows, collator):
    calls = []
    model, rows = make_model(layers=1), make_rows(5)
    record_inputs(model, "model", calls)
    measure_speed({"model": model}, rows, collator, time_budget=0.0)
    seen = {tuple(token for token in row.tolist() if token) for _, input_ids in calls for row in input_ids}
    assert seen <= {tuple(input_ids) for input_ids in rows["input_ids"]}
    assert {len(input_ids) for _, input_ids in calls} == {1, 32}


def test_it_ends_in_time_and_leaves_the_mode(make_model, make_rows, collator):
    model = make_model(layers=1)
    model.train()
    wait_in_every_forward(model, 0.01)
    started = time.perf_counter()
    measure_speed({"model": model}, make_rows(5), collator, time_budget=0.3)
    assert time.perf_counter() - started < 3
    assert model.training
