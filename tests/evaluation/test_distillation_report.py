import dataclasses
import json
import math
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from figures import make_figures

from hf_distill.evaluation import DistillationReport, environment
from hf_distill.evaluation.publishable import publishable, publishable_command
from hf_distill.version import __version__


@pytest.fixture
def report():
    return DistillationReport(
        task="sst2",
        primary_metric="accuracy",
        teacher_name="owner/teacher",
        teacher_revision="abc123",
        student_layers={"bert.encoder.layer": [0, 2, 4]},
        data={"dataset": "nyu-mll/glue", "config": "sst2", "rows": {"train": np.int64(67349), "validation": 872}},
        objective={"temperature": 2.0, "soft_target_weight": 0.5},
        training={
            "learning_rate": 5e-5,
            "output_dir": "/home/somebody/runs/out",
            "command": "train.py --data_dir=/data/glue ../shared/x.yaml --token_file ~/secrets/key",
            "hub_token": "secret",
            "note": "hf_abcdefghijklmnopqrstuvwxyz",
            "config": Path("/etc/run.yaml"),
        },
        environment={"torch": "2.13.0", "threads": 2},
        teacher=make_figures(accuracy=0.8, pearson=float("nan")),
        student=make_figures(0.5, accuracy=0.76, pearson=float("nan")),
        baseline=make_figures(0.5, accuracy=0.7, pearson=float("nan")),
        retention={"validation": {"accuracy": 0.95, "pearson": None}},
        agreement={"validation": 0.9},
    )


def cells(markdown, first_cells):
    """The cells of the one table row that begins with these."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in markdown.splitlines() if "|" in line]
    matching = [row for row in rows if row[: len(first_cells)] == first_cells]
    assert len(matching) == 1, first_cells
    return matching[0][len(first_cells) :]


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_saved_report_is_strict_json_and_loads_back(report, tmp_path):
    report.save(tmp_path / "new")
    text = (tmp_path / "new" / "distillation_report.json").read_text()
    values = json.loads(text, parse_constant=refuse_constant)
    assert values["student"]["metrics"] == {"validation": {"accuracy": 0.76, "pearson": None}}
    assert values["data"]["rows"]["train"] == 67349
    assert DistillationReport.load(tmp_path / "new") == report
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "distillation_report.json",
        "distillation_report.md",
    ]


def test_report_without_baseline_loads_back(report, tmp_path):
    report = dataclasses.replace(report, baseline=None, student_layers=None, teacher_revision=None)
    report.save(tmp_path)
    assert DistillationReport.load(tmp_path) == report
    assert "without teacher" not in report.to_markdown()


def test_no_path_and_no_token_is_in_the_files(report, tmp_path):
    report.save(tmp_path)
    for path in tmp_path.iterdir():
        text = path.read_text()
        for secret in ("/home", "somebody", "/data", "secrets", "/etc", "secret", "hf_abc"):
            assert secret not in text, (path.name, secret)
    assert report.training["output_dir"] == "out"
    assert report.training["command"] == "train.py --data_dir=glue ../shared/x.yaml --token_file key"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nyu-mll/glue", "nyu-mll/glue"),
        ("a / b and 3/4", "a / b and 3/4"),
        ("https://example.com/a/b", "https://example.com/a/b"),
        ("/tmp/run/", "run"),
        ("x '/tmp/a b'", "x 'a b'"),
        ("/home/jane doe/secret project/out", "out"),
        (Path("/home/jane doe/secret project/out"), "out"),
        ("//home/jane/out", "out"),
        ("file:///home/jane/a.csv", "a.csv"),
        ("rows of file:///home/jane/a.csv, all", "rows of a.csv, all"),
        ("../../home/jane/p", "p"),
        ("runs/../../home/jane/p", "p"),
        ("~jane/p", "p"),
        ("~3/4 of the rows", "~3/4 of the rows"),
        ("runs/out", "runs/out"),
        ("owner/hf_student", "owner/hf_student"),
        ("hf_oauth_eyJhbGci.eyJ-zdWI_.sig", "<token>"),
        ("hf_distill.evaluation.publishable", "hf_distill.evaluation.publishable"),
        (math.inf, None),
        (np.float32(0.5), 0.5),
        (True, True),
        ((1, "a"), [1, "a"]),
        (torch.bfloat16, "torch.bfloat16"),
    ],
)
def test_publishable(value, expected):
    assert publishable(value) == expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["x.py", "--hub_token", "secret-not-hf", "--seed", "3"], ["x.py", "--seed", "3"]),
        (["x.py", "--hub-token=secret-not-hf", "--token", "secret", "--seed=3"], ["x.py", "--seed=3"]),
        (["x.py", "--hub_token", "--seed", "3"], ["x.py", "--seed", "3"]),
        (["x.py", "--token", "a", "b"], ["x.py", "b"]),
        (["x.py", "--include_tokens_per_second", "all"], ["x.py", "--include_tokens_per_second", "all"]),
        (["x.py", "--token_file", "~/secrets/key"], ["x.py", "--token_file", "key"]),
        (["x.py", "--note", "hf_oauth_eyJhbGci.eyJ-zdWI_.sig"], ["x.py", "--note", "<token>"]),
        (["x.py", "--hub_tok", "a/given", "--y=a/given/more"], ["x.py", "--hub_tok", "<token>", "--y=<token>"]),
        (["x.py", "--url=https://stored-token@host/x"], ["x.py", "--url=https://<token>@host/x"]),
        (
            ["/home/jane doe/my x.py", "c.yaml", "--output_dir=/home/jane doe/out"],
            ["my x.py", "c.yaml", "--output_dir=out"],
        ),
        (
            ["x.py", "../../home/jane/c.yaml", "--a=../b/c", "configs/c.yaml"],
            ["x.py", "c.yaml", "--a=c", "configs/c.yaml"],
        ),
        (["x.py", "--f=file:///home/jane/a.csv", "/a=b/c"], ["x.py", "--f=a.csv", "c"]),
        (["x.py", '--fsdp_config={"a": "/home/jane/b"}'], ["x.py", '--fsdp_config={"a": "b"}']),
        (["x.py", "--teacher", "owner/name"], ["x.py", "--teacher", "owner/name"]),
    ],
)
def test_publishable_command(argv, expected, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "stored-token")
    assert shlex.split(publishable_command(argv, secrets=["", "a/given", "a/given/more"])) == expected


def test_markdown_holds_every_figure(report):
    markdown = report.to_markdown()
    assert cells(markdown, ["validation", "accuracy"]) == ["0.8000", "0.7600", "95.0 %", "0.7000"]
    assert cells(markdown, ["validation", "pearson"]) == ["–", "–", "–", "–"]
    assert cells(markdown, ["parameters"]) == ["1,000,000", "500,000", "2.00x"]
    assert cells(markdown, ["size on disk"]) == ["4.0 MB", "2.0 MB", "2.00x"]
    assert cells(markdown, ["latency, median (batch 1)"]) == ["10.00 ms", "5.00 ms", "2.00x"]
    assert cells(markdown, ["latency, 95th percentile (batch 1)"]) == ["12.00 ms", "6.00 ms", "2.00x"]
    assert cells(markdown, ["throughput (batch 32)"]) == ["100.0 examples/s", "200.0 examples/s", "2.00x"]
    assert cells(markdown, ["teacher layers taken"]) == ["bert.encoder.layer: 0, 2, 4"]
    assert cells(markdown, ["rows.train"]) == ["67349"]
    assert "95.0 % of its teacher's accuracy on validation (0.7600 against 0.8000)" in markdown
    assert "50.0 % of the parameters and 2.00x the throughput" in markdown
    assert "Agreement between teacher and student: 0.9000 (validation)" in markdown


def test_an_interrupted_save_keeps_the_report_of_before(report, tmp_path, monkeypatch):
    report.save(tmp_path)
    before = (tmp_path / "distillation_report.json").read_bytes()

    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(report, task="other").save(tmp_path)
    assert (tmp_path / "distillation_report.json").read_bytes() == before


def test_environment_names_versions_device_and_threads():
    found = environment()
    assert found["hf_distill"] == __version__
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["device"]
    assert set(found) == {
        *("hf_distill", "torch", "transformers", "datasets", "accelerate", "python", "device", "threads")
    }
