"""From recorded timings to tables: against numpy, and by arithmetic of one's own."""

import argparse
import json

import numpy as np
import pytest

from hf_distill.benchmarks import memory, run, scaling, step
from hf_distill.benchmarks.clock import Duration
from hf_distill.benchmarks.ratios import Quartiles, ratios
from hf_distill.benchmarks.result import BenchmarkResult
from hf_distill.benchmarks.rounds import take_turns
from hf_distill.benchmarks.throughput import find_hardware
from hf_distill.benchmarks.worker import Finding

RANDOM = np.random.default_rng(0)


def assert_quartiles(found, values):
    expected = np.percentile(values, [50, 25, 75])
    assert [found.median, found.lower, found.upper] == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_quartiles(count):
    values = RANDOM.uniform(0.5, 2, count)
    assert_quartiles(Quartiles.of(values.tolist()), values)


def test_ratios_are_taken_round_by_round():
    assert ratios([1.0, 20.0, 300.0], [2.0, 40.0, 600.0]) == Quartiles(0.5, 0.5, 0.5)
    values, baseline = RANDOM.uniform(0.5, 2, (2, 7))
    assert_quartiles(ratios(values.tolist(), baseline.tolist()), values / baseline)
    with pytest.raises(ValueError):
        ratios([1.0, 2.0], [1.0])


def test_everyone_has_a_turn_in_every_round_and_each_place_in_turn():
    names = ["a", "b", "c"]
    turns = list(take_turns(names, rounds=6))
    by_round = [turns[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(turn) == names for turn in by_round)
    for place in range(3):
        assert sorted(turn[place] for turn in by_round) == sorted(names * 2)


def result():
    columns = {"variant": "variant", "ratio": "time / floor", "rate": "examples/s", "count": "processes"}
    rows = [
        {"variant": "one", "ratio": Quartiles(1.5, 1.25, 2.0), "rate": 12345.6, "count": 1200},
        {"variant": "two", "ratio": None, "rate": 12.34},
    ]
    return BenchmarkResult("step", columns, rows, {"models": ["bert", "tiny"], "steps": 8}, {"threads": 2})


def test_markdown():
    assert result().to_text(as_json=False).splitlines() == [
        "| variant | time / floor | examples/s | processes |",
        "| --- | --- | --- | --- |",
        "| one | 1.50 (1.25–2.00) | 12,346 | 1,200 |",
        "| two | – | 12.3 | – |",
        "",
        "`step`: models bert tiny, steps 8.",
        "Measured with threads 2.",
    ]


def test_json_holds_all_figures_unrounded():
    content = json.loads(result().to_text(as_json=True))
    assert content["rows"][0] == {
        "variant": "one",
        "ratio": {"median": 1.5, "lower": 1.25, "upper": 2.0},
        "rate": 12345.6,
        "count": 1200,
    }
    assert content["settings"] == {"models": ["bert", "tiny"], "steps": 8}
    assert content["environment"] == {"threads": 2}


def timings(names, rounds=5):
    return {name: [Duration(*RANDOM.uniform(1, 3, 2).tolist()) for _ in range(rounds)] for name in names}


def assert_ratios_to_first(rows, recorded):
    """The first one recorded is the baseline."""
    baseline = next(iter(recorded.values()))
    for row, durations in zip(rows, recorded.values(), strict=True):
        pairs = list(zip(durations, baseline, strict=True))
        assert_quartiles(row["cpu_ratio"], [own.cpu / base.cpu for own, base in pairs])
        assert_quartiles(row["wall_ratio"], [own.wall / base.wall for own, base in pairs])
        assert row["cpu_seconds"] == pytest.approx(np.median([own.cpu for own, _ in pairs]))
        assert row["wall_seconds"] == pytest.approx(np.median([own.wall for own, _ in pairs]))


def test_table_of_steps():
    arguments = argparse.Namespace(batch_size=16, seq_length=128, use_cpu=True, bf16=False)
    recorded = timings(["floor", "blog", "live"])
    rows = step.table_rows("bert", (None, None), recorded, arguments)
    assert_ratios_to_first(rows, recorded)
    assert [row["variant"] for row in rows] == [step.DESCRIPTIONS[name] for name in recorded]
    for row in rows:
        assert row["examples_per_second"] == pytest.approx(16 / row["wall_seconds"])
        assert row["tokens_per_second"] == pytest.approx(2048 / row["wall_seconds"])
        assert row["flops_utilisation"] is None
        assert row.keys() == step.COLUMNS.keys()


def test_table_of_runs():
    recorded = timings(["blog", "default", "second"])
    rows = run.table_rows("sst2", recorded, run.Amount(rows=1000, tokens=13000, epochs=3))
    assert_ratios_to_first(rows, recorded)
    for row in rows:
        assert row["mean_tokens"] == 13
        assert row["examples_per_second"] == pytest.approx(3000 / row["wall_seconds"])
        assert row["tokens_per_second"] == pytest.approx(39000 / row["wall_seconds"])
        assert row.keys() == run.COLUMNS.keys()


def test_table_of_memory():
    live, cached = memory.table_rows("bert", 400.0, {"live": 3000.0, "cached": 2500.0})
    assert (live["peak_ratio"], live["saved_mb"], live["saved_teachers"]) == (1.0, 0.0, 0.0)
    assert (cached["peak_ratio"], cached["saved_mb"], cached["saved_teachers"]) == (pytest.approx(5 / 6), 500.0, 1.25)
    assert cached.keys() == memory.COLUMNS.keys()


def test_a_bert_teacher_weighs_what_its_parameters_do():
    assert memory.teacher_megabytes("bert") == pytest.approx(109_483_778 * 4 / 1e6)


def test_table_of_scaling():
    """The slowest process decides the rate, and the CPU time is that of all of them."""
    found = {
        ("live", 1): [[Finding(cpu=8.0, wall=8.0, peak_mb=0)], [Finding(cpu=10.0, wall=10.0, peak_mb=0)]],
        ("live", 2): [
            [Finding(cpu=9.0, wall=9.0, peak_mb=0), Finding(cpu=7.0, wall=10.0, peak_mb=0)],
            [Finding(cpu=12.0, wall=12.5, peak_mb=0), Finding(cpu=10.0, wall=12.0, peak_mb=0)],
        ],
    }
    one, two = scaling.table_rows("minilm", found, examples=100)
    assert one["efficiency"] == one["cpu_ratio"] == Quartiles(1.0, 1.0, 1.0)
    assert one["examples_per_second"] == pytest.approx(np.median([100 / 8, 100 / 10]))
    assert two["examples_per_second"] == pytest.approx(np.median([200 / 10, 200 / 12.5]))
    assert_quartiles(two["efficiency"], [8 / 10, 10 / 12.5])
    assert_quartiles(two["cpu_ratio"], [(16 / 200) / (8 / 100), (22 / 200) / (10 / 100)])
    assert two["cpu_ms_per_example"] == pytest.approx(np.median([80, 110]))
    assert two.keys() == scaling.COLUMNS.keys()


@pytest.mark.parametrize(
    ("device", "gigabytes", "expected"),
    [
        ("NVIDIA H200", 141, "h200"),
        ("NVIDIA H100 80GB HBM3", 80, "h100"),
        ("NVIDIA H100 PCIe", 80, None),
        ("NVIDIA H100 NVL", 94, None),
        ("NVIDIA A100-SXM4-40GB", 40, "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", 80, "a100-80gb"),
        ("Tesla T4", 15, "t4"),
        ("Tesla V100-SXM2-16GB", 16, "v100"),
        ("NVIDIA A10G", 23, "a10g"),
        ("NVIDIA GeForce RTX 4090", 24, None),
    ],
)
def test_a_gpu_is_found_by_its_own_name(device, gigabytes, expected):
    assert find_hardware(device, gigabytes * 10**9) == expected
