"""scripts/distill_glue.py from beginning to end, on a tiny teacher."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, pipeline

from hf_distill.evaluation import DistillationReport


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_student_report_card_and_pipeline(command, run_script, out, capsys):
    assert run_script("distill_glue.py", command(baseline="true", num_train_epochs=3, learning_rate=3e-3)) == 0

    student = AutoModelForSequenceClassification.from_pretrained(out)
    assert student.config.num_hidden_layers == 2
    assert student.config.distilled_from_layers == {"bert.encoder.layer": [0, 2]}
    assert student.config.id2label == {0: "neg", 1: "pos"}
    report = DistillationReport.load(out)
    assert report.student.parameters == student.num_parameters()
    assert report.data["rows"]["train"]["used"] == 48
    assert report.baseline is not None
    classify = pipeline("text-classification", model=str(out))
    printed = capsys.readouterr().out
    answer = classify("the plot is great")
    assert answer[0]["label"] in ("neg", "pos")
    assert 'pipeline("text-classification"' in printed and report.summary() in printed
    assert (out / "README.md").read_text().startswith("---\n")
    assert [path.name for path in out.glob("**/*teacher*")] == ["teacher_cache"]


def test_reported_scores_are_those_of_the_saved_student(command, run_script, shelf, out):
    assert run_script("distill_glue.py", command()) == 0
    classify = pipeline("text-classification", model=str(out))
    lines = (shelf / "dev.csv").read_text().splitlines()[1:]
    texts, labels = zip(*(line.rsplit(",", 1) for line in lines), strict=True)
    right = sum(answer["label"] == label for answer, label in zip(classify(list(texts)), labels, strict=True))
    assert DistillationReport.load(out).student.metrics["validation"]["accuracy"] == pytest.approx(right / len(labels))


def test_reversed_teacher_gives_the_same_student_head(command, run_script, shelf, out):
    """The reversed teacher's class 0 is POS; the student numbers its classes as the task does."""
    assert run_script("distill_glue.py", command(teacher_name_or_path=shelf / "reversed-teacher", max_steps=1)) == 0
    student = AutoModelForSequenceClassification.from_pretrained(out)
    teacher = load_file(shelf / "reversed-teacher" / "model.safetensors")
    assert student.config.id2label == {0: "neg", 1: "pos"}
    # One step at 5e-5 moves no weight by more than that.
    torch.testing.assert_close(student.classifier.weight, teacher["classifier.weight"].flip(0), atol=1e-4, rtol=0)


def test_teacher_is_finetuned_kept_and_reused(command, run_script, shelf, out, capsys):
    arguments = command(teacher_name_or_path=shelf / "headless", finetune_teacher="true", learning_rate=3e-3)
    assert run_script("distill_glue.py", arguments) == 0
    first = load_file(out / "teacher" / "model.safetensors")
    student = load_file(out / "model.safetensors")
    assert not (out / "teacher-training").exists()
    assert "Using the fine-tuned teacher" not in capsys.readouterr().err

    assert run_script("distill_glue.py", [*arguments, "--overwrite_output_dir", "--temperature", "4"]) == 0
    assert "Using the fine-tuned teacher" in capsys.readouterr().err
    assert all(
        torch.equal(first[name], weight) for name, weight in load_file(out / "teacher" / "model.safetensors").items()
    )
    assert not torch.equal(student["classifier.weight"], load_file(out / "model.safetensors")["classifier.weight"])

    assert run_script("distill_glue.py", [*arguments, "--overwrite_output_dir", "--seed", "7"]) == 0
    again = load_file(out / "teacher" / "model.safetensors")
    assert not torch.equal(first["classifier.weight"], again["classifier.weight"])


def test_student_from_another_checkpoint(command, run_script, shelf, out):
    arguments = command(student_layers=None, student_name_or_path=shelf / "headless", max_steps=1)
    assert run_script("distill_glue.py", arguments) == 0
    assert DistillationReport.load(out).student_layers is None
    assert AutoModelForSequenceClassification.from_pretrained(out).config.id2label == {0: "neg", 1: "pos"}


def test_checkpoint_with_reversed_labels_is_renumbered(command, run_script, shelf, out):
    arguments = command(student_layers=None, student_name_or_path=shelf / "reversed-teacher", max_steps=1)
    assert run_script("distill_glue.py", arguments) == 0
    student = AutoModelForSequenceClassification.from_pretrained(out)
    before = load_file(shelf / "reversed-teacher" / "model.safetensors")["classifier.weight"]
    assert [name.lower() for name in student.config.id2label.values()] == ["neg", "pos"]
    torch.testing.assert_close(student.classifier.weight, before.flip(0), atol=1e-4, rtol=0)


def test_unlabelled_objective_and_regression(command, run_script, shelf, tmp_path, out):
    for name in ("train", "dev"):
        rows = (shelf / f"{name}.csv").read_text().replace(",neg", ",0.25").replace(",pos", ",0.75")
        (tmp_path / f"{name}.csv").write_text(rows)
    arguments = command(
        teacher_name_or_path=shelf / "headless",
        finetune_teacher="true",
        train_file=tmp_path / "train.csv",
        validation_file=tmp_path / "dev.csv",
        hard_target_weight=0,
        soft_target_weight=1,
    )
    assert run_script("distill_glue.py", arguments) == 0
    report = json.loads((out / "distillation_report.json").read_text())
    assert set(report["student"]["metrics"]["validation"]) == {"pearson", "spearman"}
    assert AutoModelForSequenceClassification.from_pretrained(out).config.problem_type == "regression"


def test_finished_student_is_finetuned_without_a_teacher(command, run_script, shelf, out, tmp_path):
    assert run_script("distill_glue.py", command(max_steps=1)) == 0
    arguments = command(
        teacher_name_or_path=None, student_layers=None, student_name_or_path=out, output_dir=tmp_path / "tuned"
    )
    assert run_script("finetune_student.py", arguments) == 0
    assert json.loads((tmp_path / "tuned" / "eval_results.json").read_text())["eval_accuracy"] >= 0
    tuned = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert tuned.config.distilled_from_layers == {"bert.encoder.layer": [0, 2]}


def test_second_run_resumes_or_overwrites_but_never_by_accident(command, run_script, out, capsys):
    assert run_script("distill_glue.py", command(max_steps=1)) == 0
    weights = (out / "model.safetensors").read_bytes()
    assert run_script("distill_glue.py", command(max_steps=2)) == 2
    assert "--overwrite_output_dir" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == weights
    assert run_script("distill_glue.py", [*command(max_steps=2), "--overwrite_output_dir"]) == 0
    assert (out / "model.safetensors").read_bytes() != weights


def test_resumed_run_ends_with_the_same_bytes(command, run_script, out):
    whole = command(save_strategy="steps", save_steps=2, num_train_epochs=2, baseline="true")
    assert run_script("distill_glue.py", whole) == 0
    weights = (out / "model.safetensors").read_bytes()
    baseline = (out / "baseline" / "model.safetensors").read_bytes()
    # As if killed while the last checkpoint of the student was being written.
    (out / "checkpoint-6" / "trainer_state.json").write_text('{"epoch": ')
    for leftover in ("model.safetensors", "config.json", "distillation_report.json"):
        (out / leftover).unlink()
    shutil.rmtree(out / "baseline")
    assert run_script("distill_glue.py", [*whole, "--resume_from_checkpoint"]) == 0
    assert (out / "model.safetensors").read_bytes() == weights
    assert (out / "baseline" / "model.safetensors").read_bytes() == baseline
