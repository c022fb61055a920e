"""Teachers that answer before training: one or several, in words of their own, and runs that share their answers."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertTokenizer,
)
from workflow.conftest import VOCABULARY, save_model, write_reviews

from hf_distill import CachedTeacher
from hf_distill.arguments import DistillationTrainingArguments, TeacherCacheArguments
from hf_distill.evaluation import DistillationReport
from hf_distill.workflow.answer_time import answer_before_training

OPINIONATED = {"initializer_range": 0.5}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def shards(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}


def weights(folder):
    return load_file(folder / "model.safetensors")


def largest_difference(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize(
    ("changes", "is_cached"),
    [
        ({"num_train_epochs": 2}, True),
        ({"num_train_epochs": 1}, False),
        ({"max_steps": 3}, False),
        ({"max_steps": 4}, True),
        ({"num_train_epochs": 2, "teacher_cache_dir": "false"}, False),
        ({"num_train_epochs": 1, "teacher_cache_dir": "true"}, True),
        ({"num_train_epochs": 2, "hidden_state_weight": 1}, False),
        ({"num_train_epochs": 2, "hidden_state_weight": 1, "teacher_cache_dir": "true"}, True),
        ({"num_train_epochs": 2, "soft_target_weight": 0}, False),
    ],
)
def test_answers_are_kept_where_several_epochs_would_ask_for_them(command, run_script, out, changes, is_cached):
    """48 rows in batches of 16 are 3 steps an epoch."""
    assert run_script("distill_glue.py", command(**changes)) == 0
    assert bool(shards(out / "teacher_cache")) == is_cached
    assert DistillationReport.load(out).training["teacher_answers"] == (
        "before training" if is_cached else "at every step"
    )


@pytest.mark.parametrize(("max_steps", "is_cached"), [(6, False), (7, True)])
def test_rows_without_a_label_make_an_epoch_longer(command, run_script, tmp_path, out, max_steps, is_cached):
    """48 rows with a label and 48 without, in batches of 16, are 6 steps an epoch."""
    more = write_reviews(tmp_path / "more.csv", 48, seed=9)
    assert run_script("distill_glue.py", command(unlabelled_file=more, max_steps=max_steps)) == 0
    assert bool(shards(out / "teacher_cache")) == is_cached


@pytest.mark.parametrize("hidden_state_weight", [0, 1])
def test_live_and_stored_answers_give_the_same_student(command, run_script, tmp_path, hidden_state_weight):
    for name in ("true", "false"):
        arguments = command(
            teacher_cache_dir=name,
            output_dir=tmp_path / name,
            num_train_epochs=2,
            hidden_state_weight=hidden_state_weight,
            learning_rate=1e-3,
        )
        assert run_script("distill_glue.py", arguments) == 0
    assert largest_difference(weights(tmp_path / "true"), weights(tmp_path / "false")) < 1e-5


def test_runs_share_a_cache(command, run_script, tmp_path):
    cache = tmp_path / "answers"
    first = command(teacher_cache_dir=cache, output_dir=tmp_path / "one")
    assert run_script("distill_glue.py", first) == 0
    made = shards(cache)
    assert made and not (tmp_path / "one" / "teacher_cache").exists()
    second = command(teacher_cache_dir=cache, output_dir=tmp_path / "two", temperature=5, max_train_samples=20)
    assert run_script("distill_glue.py", second) == 0
    assert shards(cache) == made


def test_another_teacher_is_refused_unless_told(command, run_script, shelf, tmp_path, capfd):
    cache = tmp_path / "answers"
    assert run_script("distill_glue.py", command(teacher_cache_dir=cache, output_dir=tmp_path / "one")) == 0
    made = shards(cache)
    other = command(
        teacher_cache_dir=cache, output_dir=tmp_path / "two", teacher_name_or_path=shelf / "reversed-teacher"
    )
    assert run_script("distill_glue.py", other) == 2
    error = capfd.readouterr().err
    assert "overwrite_teacher_cache" in error and str(cache) in error
    assert shards(cache) == made
    again = [*other, "--overwrite_teacher_cache", "--overwrite_output_dir"]
    assert run_script("distill_glue.py", again) == 0
    assert not set(shards(cache)) & set(made)


def test_overwritten_run_keeps_a_cache_that_fits_and_replaces_one_that_does_not(command, run_script, shelf, out):
    arguments = command(teacher_cache_dir="true")
    assert run_script("distill_glue.py", arguments) == 0
    made = shards(out / "teacher_cache")
    again = [*arguments, "--overwrite_output_dir"]
    assert run_script("distill_glue.py", [*again, "--temperature", "4"]) == 0
    assert shards(out / "teacher_cache") == made
    assert run_script("distill_glue.py", [*again, "--teacher_name_or_path", shelf / "reversed-teacher"]) == 0
    assert shards(out / "teacher_cache") and not set(shards(out / "teacher_cache")) & set(made)


def teacher_logits(folder, rows):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return torch.cat([model(**tokenizer(row, return_tensors="pt")).logits for row in rows])


def first_soft_target_loss(out):
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return next(entry["soft_target_loss"] for entry in history if "soft_target_loss" in entry)


def expected_loss(student_logits, teacher_probabilities, temperature):
    student = np.log(torch.softmax(student_logits / temperature, -1).numpy())
    return temperature**2 * np.mean(np.sum(teacher_probabilities * (np.log(teacher_probabilities) - student), -1))


@pytest.fixture
def still_student(command):
    """One step over all rows with a learning rate of 0: the logged loss is that of the starting weights."""

    def arguments(**changes):
        return command(
            per_device_train_batch_size=48, max_steps=1, learning_rate=0, logging_steps=1, temperature=3, **changes
        )

    return arguments


def texts(shelf):
    with (shelf / "train.csv").open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("cache", ["true", "false"])
def test_several_teachers_are_averaged_with_their_weights(still_student, run_script, shelf, tmp_path, out, cache):
    first = save_model(tmp_path / "first", **OPINIONATED)
    second = save_model(tmp_path / "second", names=("POS", "NEG"), hidden_size=16, num_hidden_layers=3, **OPINIONATED)
    student = save_model(tmp_path / "student", num_hidden_layers=1, **NO_DROPOUT)
    arguments = still_student(
        teacher_name_or_path=None,
        teacher_cache_dir=cache,
        student_layers=None,
        student_name_or_path=student,
        teacher_weights="[1, 3]",
    )
    assert run_script("distill_glue.py", [*arguments, "--teacher_name_or_path", first, second]) == 0
    rows = texts(shelf)
    probabilities = [torch.softmax(teacher_logits(path, rows) / 3, -1).numpy() for path in (first, second)]
    mixture = 0.25 * probabilities[0] + 0.75 * probabilities[1][:, ::-1]
    assert first_soft_target_loss(out) == pytest.approx(expected_loss(teacher_logits(student, rows), mixture, 3), 1e-4)
    folders = [path.name for path in sorted((out / "teacher_cache").glob("teacher-*"))]
    assert folders == (["teacher-0", "teacher-1"] if cache == "true" else [])
    report = DistillationReport.load(out)
    assert report.objective["teachers"] == {"first": 1.0, "second": 3.0}


def test_teacher_reads_the_texts_with_its_own_tokenizer(still_student, run_script, shelf, tmp_path, out):
    words = [*VOCABULARY[:5], *reversed(VOCABULARY[5:])]
    teacher = save_model(tmp_path / "teacher", **OPINIONATED)
    student = save_model(tmp_path / "student", words=words, num_hidden_layers=1, **NO_DROPOUT)
    arguments = still_student(teacher_name_or_path=teacher, student_layers=None, student_name_or_path=student)
    assert run_script("distill_glue.py", arguments) == 0
    rows = texts(shelf)
    probabilities = torch.softmax(teacher_logits(teacher, rows) / 3, -1).numpy()
    assert first_soft_target_loss(out) == pytest.approx(
        expected_loss(teacher_logits(student, rows), probabilities, 3), 1e-4
    )
    with (shelf / "dev.csv").open(newline="") as file:
        dev = list(csv.DictReader(file))
    for model, figures in ((teacher, "teacher"), (out, "student")):
        answers = teacher_logits(model, [row["text"] for row in dev]).argmax(-1).tolist()
        right = np.mean([["neg", "pos"][answer] == row["label"] for answer, row in zip(answers, dev, strict=True)])
        report = DistillationReport.load(out)
        assert getattr(report, figures).metrics["validation"]["accuracy"] == pytest.approx(right)


def test_several_teachers_cannot_be_finetuned_or_compared_in_hidden_states(command, run_script, shelf, capfd):
    teachers = ["--teacher_name_or_path", shelf / "teacher", shelf / "reversed-teacher"]
    for more, mentions in ((["--finetune_teacher"], "finetune_teacher"), (["--hidden_state_weight", 1], "no mean")):
        assert run_script("distill_glue.py", [*command(teacher_name_or_path=None), *teachers, *more]) == 2
        assert mentions in capfd.readouterr().err


def test_the_runs_own_cache_is_remade_when_one_teacher_takes_the_place_of_two(command, run_script, shelf, out):
    arguments = command(teacher_name_or_path=None, teacher_cache_dir="true")
    both = ["--teacher_name_or_path", shelf / "teacher", shelf / "reversed-teacher"]
    assert run_script("distill_glue.py", [*arguments, *both]) == 0
    one = ["--teacher_name_or_path", shelf / "teacher", "--overwrite_output_dir"]
    assert run_script("distill_glue.py", [*arguments, *one]) == 0
    assert shards(out / "teacher_cache") and not (out / "teacher_cache" / "teacher-0").exists()
    shard = next((out / "teacher_cache").glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run_script("distill_glue.py", [*arguments, *one]) == 0


def test_a_teacher_with_other_inputs_gets_its_own(command, run_script, shelf, tmp_path, out):
    """The first teacher knows no token types and reads less; the second is a BERT, which needs them."""
    with (shelf / "train.csv").open(newline="") as file:
        rows = [f"{row['text']},{row['text']},{row['label']}" for row in csv.DictReader(file)]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,other,label", *rows]) + "\n")
    first = tmp_path / "first"
    shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, "max_position_embeddings": 16}
    config = DistilBertConfig(vocab_size=len(VOCABULARY), id2label={0: "neg", 1: "pos"}, **shape)
    DistilBertForSequenceClassification(config).save_pretrained(first)
    DistilBertTokenizer(vocab={word: i for i, word in enumerate(VOCABULARY)}).save_pretrained(first)
    second = save_model(tmp_path / "second", **OPINIONATED)
    for cache in ("true", "false"):
        arguments = command(
            teacher_name_or_path=None,
            train_file=tmp_path / "train.csv",
            validation_file=tmp_path / "dev.csv",
            text_column="text",
            text_pair_column="other",
            label_column="label",
            student_layers=1,
            teacher_cache_dir=cache,
            max_seq_length=24,
            output_dir=tmp_path / cache,
        )
        assert run_script("distill_glue.py", [*arguments, "--teacher_name_or_path", first, second]) == 0
    stored = CachedTeacher(tmp_path / "true" / "teacher_cache" / "teacher-1")
    tokenizer = AutoTokenizer.from_pretrained(second)
    texts = [row.split(",")[0] for row in rows[:3]]
    inputs = tokenizer(texts, texts, truncation=True, max_length=16)
    features = [{name: values[row] for name, values in inputs.items()} for row in range(3)]
    batch = stored.collator(DataCollatorWithPadding(tokenizer))(features)
    model = AutoModelForSequenceClassification.from_pretrained(second).eval()
    with torch.no_grad():
        rows = [{name: torch.tensor([values]) for name, values in row.items()} for row in features]
        expected = torch.cat([model(**row).logits for row in rows])
    torch.testing.assert_close(stored(batch).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("place", ["out", "out/teacher", ".", "file"])
def test_a_folder_that_no_cache_can_lie_in_is_refused_before_anything_is_lost(
    command, run_script, tmp_path, out, capfd, place
):
    assert run_script("distill_glue.py", command()) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    (tmp_path / "file").write_text("mine")
    arguments = command(teacher_cache_dir=tmp_path / place)
    assert run_script("distill_glue.py", [*arguments, "--overwrite_output_dir"]) == 2
    assert "teacher_cache_dir" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("environment", "is_cached"), [({}, True), ({"ACCELERATE_USE_FSDP": "true"}, False)], ids=["whole", "sharded"]
)
def test_a_sharded_teacher_stays_live_unless_told(monkeypatch, tmp_path, environment, is_cached):
    args = DistillationTrainingArguments(str(tmp_path), use_cpu=True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert answer_before_training(TeacherCacheArguments(), args, 100, needs_cache=False) == is_cached
    assert answer_before_training(TeacherCacheArguments("true"), args, 100, needs_cache=False)
