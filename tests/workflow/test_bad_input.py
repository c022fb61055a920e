"""What cannot work is refused in one line, with exit code 2, before anything is trained or written."""

import subprocess
import sys

import pytest
from workflow.conftest import SCRIPTS

CASES = {
    "unknown task": ({"train_file": None, "validation_file": None, "task_name": "sst"}, "sst2"),
    "missing file": ({"train_file": "nowhere/train.csv"}, "nowhere"),
    "missing folder": (
        {"train_file": None, "validation_file": None, "task_name": "cola", "data_dir": "nowhere"},
        "nowhere",
    ),
    "empty file": ({"train_file": "SHELF/empty.csv"}, "empty"),
    "binary file": ({"train_file": "SHELF/binary.csv"}, "binary"),
    "missing column": ({"text_column": "review"}, "'review'"),
    "labels of one class": (
        {"train_file": "SHELF/one-class.csv", "validation_file": "SHELF/one-class-dev.csv"},
        "all have the label",
    ),
    "teacher path wrong": ({"teacher_name_or_path": "nowhere/teacher"}, "nowhere/teacher"),
    "teacher is no model": ({"teacher_name_or_path": "SHELF/not-a-model"}, "not-a-model"),
    "student path wrong": ({"student_layers": None, "student_name_or_path": "nowhere/student"}, "nowhere/student"),
    "teacher without a head": ({"teacher_name_or_path": "SHELF/headless"}, "classifier.weight"),
    "teacher for another task": ({"teacher_name_or_path": "SHELF/topics-teacher"}, "politics"),
    "another vocabulary, live": (
        {"student_layers": None, "student_name_or_path": "SHELF/other-words", "teacher_cache_dir": "false"},
        "teacher_cache_dir",
    ),
    "another vocabulary, hidden states": (
        {"student_layers": None, "student_name_or_path": "SHELF/other-words", "hidden_state_weight": 1},
        "compares more than answers",
    ),
    "teacher's batch of 0": ({"teacher_batch_size": 0}, "teacher_batch_size"),
    "unknown storage": ({"teacher_cache_dtype": "int8"}, "fp16"),
    "no cache to overwrite": (
        {"teacher_cache_dir": "no", "overwrite_teacher_cache": "true"},
        "overwrite_teacher_cache",
    ),
    "weights for other teachers": ({"teacher_weights": "[1, 2]"}, "2 numbers for 1 teachers"),
    "too many layers": ({"student_layers": 5}, "4"),
    "layer out of range": ({"student_layers": "0,4"}, "4"),
    "temperature 0": ({"temperature": 0}, "temperature"),
    "temperature negative": ({"temperature": -1}, "temperature"),
    "all weights 0": ({"soft_target_weight": 0, "hard_target_weight": 0}, "all 0"),
    "negative weight": ({"soft_target_weight": -1}, "soft_target_weight"),
    "misspelt key": ({"learning_rat": 1}, "learning_rate"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_exit_code_2(name, command, run_script, shelf, tmp_path, capfd):
    changes, mentions = CASES[name]
    changes = {
        key: str(value).replace("SHELF", str(shelf)) if value is not None else None for key, value in changes.items()
    }
    assert run_script("distill_glue.py", command(**changes)) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, name
    assert mentions in errors[0]
    assert not (tmp_path / "out").exists()


def test_wrong_label_in_validation(command, run_script, shelf, tmp_path, capfd):
    (tmp_path / "dev.csv").write_text("text,label\nthe plot is good,pos\nthe plot is fine,neutral\n")
    assert run_script("distill_glue.py", command(validation_file=tmp_path / "dev.csv")) == 2
    assert "neutral" in capfd.readouterr().err


def test_foreign_files_are_left_alone(command, run_script, tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    assert run_script("distill_glue.py", [*command(), "--overwrite_output_dir"]) == 2
    assert "not of a run" in capfd.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_long_texts_are_counted(command, run_script, capfd):
    assert run_script("distill_glue.py", command(max_seq_length=5, max_steps=1)) == 0
    assert "longer than 5 tokens" in capfd.readouterr().err


def test_plain_python_prints_no_traceback(command, tmp_path):
    arguments = [sys.executable, str(SCRIPTS / "distill_glue.py"), *command(student_layers=9)]
    finished = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert finished.stderr.strip().splitlines()[-1].startswith("error: ")
