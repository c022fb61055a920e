"""scripts/benchmark.py from beginning to end, at the smallest size."""

import csv
import json
import logging
import os
import runpy
import sys
from pathlib import Path

import pytest
from workflow.conftest import save_model, write_reviews

from hf_distill.benchmarks.worker import peak_memory_mb

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
TINY = ["--batch_size", "2", "--seq_length", "8", "--steps", "2", "--warm_up_steps", "1", "--use_cpu"]


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """Run the script in this process; gives its exit code, and what it wrote to stdout and stderr."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    logger = logging.getLogger("hf_distill")
    as_it_was = logger.level, logger.propagate, logger.handlers

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    yield run
    logger.setLevel(as_it_was[0])
    _, logger.propagate, logger.handlers = as_it_was


def rows_of(outcome):
    code, out, _ = outcome
    assert code == 0
    content = json.loads(out)
    assert content["settings"] and content["environment"]["threads"] >= 1
    return content["rows"]


def test_step(benchmark):
    rows = rows_of(benchmark("step", "--models", "tiny", "--rounds", 2, *TINY, "--json"))
    assert len(rows) == 4
    assert rows[0]["cpu_ratio"] == {"median": 1.0, "lower": 1.0, "upper": 1.0}
    for row in rows:
        assert row["cpu_ratio"]["lower"] <= row["cpu_ratio"]["median"] <= row["cpu_ratio"]["upper"]
        assert row["examples_per_second"] == pytest.approx(2 / row["wall_seconds"])


def test_step_prints_a_table_to_stdout_and_progress_to_stderr(benchmark):
    code, out, err = benchmark("step", "--models", "tiny", "--variants", "live", "--rounds", 1, *TINY)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("| model | variant | CPU time / floor |")
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["hand-written loop", "hf_distill, live teacher"]
    assert lines[4] == "" and lines[5].startswith("`step`: models tiny, variants live, batch_size 2")
    assert "round 1, floor" in err and "round 1" not in out


def test_step_in_bfloat16(benchmark):
    rows = rows_of(
        benchmark("step", "--models", "tiny", "--variants", "live", "--rounds", 2, *TINY, "--bf16", "--json")
    )
    assert len(rows) == 2


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    save_model(folder / "teacher")
    (folder / "SST-2").mkdir()
    for name, count in {"train": 24, "dev": 4}.items():
        reviews = write_reviews(folder / "reviews.csv", count, seed=1, labels=("0", "1"))
        with reviews.open() as rows:
            lines = ["sentence\tlabel", *("\t".join(row) for row in list(csv.reader(rows))[1:])]
        (folder / "SST-2" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_run(benchmark, glue):
    options = ["--data_dir", glue, "--tasks", "sst2", "--teacher", glue / "teacher", "--rows", 16, "--epochs", 2]
    rows = rows_of(benchmark("run", *options, "--batch_size", 4, "--rounds", 1, "--use_cpu", "--json"))
    assert [row["variant"] for row in rows] == [
        "usual Trainer subclass, dynamic padding",
        "hf_distill, cache built in the run",
        "hf_distill, cache there already",
        "hf_distill, live teacher",
    ]
    for row in rows:
        assert row["task"] == "sst2, 16 rows" and 3 < row["mean_tokens"] < 12
        assert row["examples_per_second"] == pytest.approx(32 / row["wall_seconds"])


def test_run_without_such_a_teacher(benchmark, glue):
    code, out, err = benchmark("run", "--data_dir", glue, "--tasks", "sst2", "--teacher", glue / "nobody")
    assert code == 2 and out == ""
    assert err.splitlines()[-1].startswith("error: Could not load")


@pytest.mark.slow
def test_memory(benchmark):
    """What this process holds is not in the peaks of those that it starts."""
    held = bytearray(2_000_000_000)
    live, cached = rows_of(benchmark("memory", "--model", "tiny", "--variants", "cached", *TINY, "--json"))
    assert 100 < live["peak_mb"] < len(held) / 1e6
    assert 100 < cached["peak_mb"] < len(held) / 1e6
    assert cached["saved_mb"] == pytest.approx(live["peak_mb"] - cached["peak_mb"])


def test_a_peak_stays_after_the_memory_is_given_back():
    before = peak_memory_mb(use_cpu=True)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    held = bytearray(int(1e6 * (before - resident + 300)))
    del held
    assert peak_memory_mb(use_cpu=True) - before == pytest.approx(300, abs=5)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["live", "cached"])
def test_scaling(variant, benchmark):
    rows = rows_of(benchmark("scaling", "--model", "tiny", "--variants", variant, "--rounds", 1, *TINY, "--json"))
    assert [row["processes"] for row in rows] == [1, 2]
    assert rows[0]["efficiency"]["median"] == 1


def test_plan(benchmark):
    code, out, _ = benchmark("plan", "--teacher", "minilm-l6", "--student", 3, "--examples", 1000, "--tokens", 20)
    assert code == 0 and "| hardware |" in out


@pytest.mark.parametrize("name", ["step", "run", "memory", "scaling", "plan"])
def test_help_explains_every_option(name, benchmark):
    code, out, _ = benchmark(name, "--help")
    assert code == 0 and "--json" in out
    code, overview, _ = benchmark("--help")
    assert code == 0 and f"\n  {name} " in overview


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "BENCHMARK"),
        (["jump"], "jump"),
        (["step", "--models", "gpt5"], "gpt5"),
        (["step", "--steps", "0"], "0 leaves nothing to measure"),
        (["step", "--step", "8"], "--step"),
        (["run", "--tasks", "chess"], "chess"),
        (["scaling", "--processes", "2"], "add 1"),
        (["memory", "--model", "tiny", "--batch_size", "many"], "many"),
    ],
)
def test_wrong_options(arguments, named, benchmark):
    code, out, err = benchmark(*arguments)
    assert code == 2 and out == ""
    assert named in err.splitlines()[-1]
