"""Rows without a label from the command to the report: mixed, chosen by the teacher's answers, augmented."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForMaskedLM
from workflow.conftest import GOOD, VOCABULARY, save_model, write_reviews

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport
from hf_distill.workflow.distillation_run import DistillationRun
from hf_distill.workflow.training import train
from hf_distill.workflow.transfer_answers import differing, row_confidence

OPINIONATED = {"initializer_range": 0.5}


@pytest.fixture
def more(tmp_path):
    """Rows with labels that mean nothing, for no one may read them."""
    return write_reviews(tmp_path / "more.csv", 30, seed=7, labels=("nothing", "at all"))


@pytest.fixture
def make_run(shelf, tmp_path):
    def make(**options):
        data = {
            "train_file": str(shelf / "train.csv"),
            "validation_file": str(shelf / "dev.csv"),
            "max_seq_length": 16,
        }
        models = {"teacher_name_or_path": str(shelf / "teacher"), "student_layers": 2}
        args = {"output_dir": str(tmp_path / "out"), "num_train_epochs": 2, "use_cpu": True, "save_strategy": "no"}
        args |= {"report_to": "none", "disable_tqdm": True}
        for values in (data, models, args):
            values |= {name: options.pop(name) for name in [*values, *extra(values)] if name in options}
        cache = TeacherCacheArguments(options.pop("teacher_cache_dir", None))
        assert not options
        return DistillationRun(
            ModelArguments(**models), DataArguments(**data), DistillationTrainingArguments(**args), cache
        )

    def extra(values):
        if "train_file" in values:
            return [name for name in DataArguments.__dataclass_fields__ if name not in values]
        kind = ModelArguments if "student_layers" in values else DistillationTrainingArguments
        return [name for name in kind.__dataclass_fields__ if name not in values]

    return make


def decoded(rows, shelf):
    tokenizer = AutoTokenizer.from_pretrained(shelf / "teacher")
    return [tokenizer.decode(row["input_ids"], skip_special_tokens=True) for row in rows]


def texts_of(path):
    with path.open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def prepared(run):
    run.get_teacher_ready()
    return run.training_data.train


def test_rows_without_a_label_stand_beside_the_others(make_run, more, shelf):
    run = make_run(unlabelled_file=str(more))
    rows = prepared(run)
    assert decoded(rows, shelf) == texts_of(shelf / "train.csv") + texts_of(more)
    assert rows["labels"][48:] == [-100] * 30
    assert rows["labels"][:48] == run.data.train["labels"][:] and -100 not in rows["labels"][:48]
    assert len(run.data.train) == 48 and set(run.data.eval_dataset["labels"]) == {0, 1}
    assert run.transfer.report == {
        "labelled_rows": 48,
        "unlabelled_rows": 30,
        "rows_of_an_epoch": {"labelled": 48, "unlabelled": 30},
    }


def test_labelled_rows_are_repeated_for_the_ratio(make_run, more):
    """30 rows without a label; 48 with one are never left out."""
    run = make_run(unlabelled_file=str(more), unlabelled_ratio=0.5)
    prepared(run)
    answered = dataclasses.replace(run.data, train=run.data.taught)
    sources = run.data.train[:]["input_ids"]
    for ratio, labelled in ((0.5, 60), (0.25, 120), (0.31, 97), (0.7, 48), (5.0, 48), (None, 48)):
        run.transfer.arguments.unlabelled_ratio = ratio
        rows, again = (run.transfer.choose(run.teacher, answered).train for _ in range(2))
        assert rows[:] == again[:]
        has_label = [label != -100 for label in rows["labels"]]
        assert has_label == [True] * labelled + [False] * 30
        assert ratio is None or 30 / labelled <= ratio
        assert run.transfer.report["rows_of_an_epoch"] == {"labelled": labelled, "unlabelled": 30}
        copies = [sum(row == source for row in rows["input_ids"][:labelled]) for source in sources]
        per_row = [count / sources.count(source) for count, source in zip(copies, sources, strict=True)]
        assert max(per_row) - min(per_row) <= 1 and min(per_row) >= labelled // 48


def test_only_rows_that_the_teacher_is_sure_of(make_run, more, shelf, tmp_path):
    teacher = save_model(tmp_path / "teacher", **OPINIONATED)
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    expected = []
    for text in texts_of(more):
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=16)).logits[0]
        expected.append(max(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()))
    least = float(np.median(expected)) + 1e-4
    kept = [text for text, sure in zip(texts_of(more), expected, strict=True) if sure >= least]
    assert 0 < len(kept) < 30

    run = make_run(unlabelled_file=str(more), unlabelled_min_confidence=least, teacher_name_or_path=str(teacher))
    rows = prepared(run)
    assert decoded(rows, shelf) == texts_of(shelf / "train.csv") + kept
    assert run.transfer.report["confident_rows"] == {"kept": len(kept), "of": 30, "at_least": least}

    run.transfer.arguments.unlabelled_min_confidence = max(expected) + 1e-4
    with pytest.raises(InputError, match="of none of the 30 rows.*at most; lower it"):
        run.transfer.choose(run.teacher, dataclasses.replace(run.data, train=run.data.taught))


def test_augmented_rows_and_how_often_the_teacher_says_something_else(make_run, shelf, tmp_path):
    teacher = save_model(tmp_path / "teacher", **OPINIONATED)
    options = {"augmentation": ["words"], "augmentation_copies": 3, "teacher_name_or_path": str(teacher)}
    run = make_run(**options, max_train_samples=10)
    rows = prepared(run)
    report, augmented = run.transfer.report, rows.select(range(10, len(rows)))
    assert report["augmented_rows"] == {"words": len(augmented)} and 10 <= len(augmented) <= 30
    assert set(augmented["labels"]) == {-100}

    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()

    def label(row):
        with torch.no_grad():
            return model(torch.tensor([row["input_ids"]])).logits.argmax().item()

    made = json.loads(f"[{','.join(next((tmp_path / 'out/augmented_rows').iterdir()).read_text().splitlines())}]")
    assert [texts[0] for texts, _, _ in made] == decoded(augmented, shelf)
    differ = [label(row) != label(rows[source]) for row, (_, source, _) in zip(augmented, made, strict=True)]
    assert report["labelled_unlike_source"] == {"words": round(sum(differ) / len(differ), 4)}
    assert 0 < sum(differ) < len(differ)


def test_pairs_are_joined(make_run, tmp_path):
    for name, count in (("train", 8), ("dev", 4)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = [(f"film {GOOD[i % 3]}", f"plot {VOCABULARY[5 + i]}", i / 7) for i in range(count)]
            csv.writer(file).writerows([("sentence1", "sentence2", "label"), *rows])
    teacher = save_model(
        tmp_path / "teacher", num_labels=1, problem_type="regression", names=("score",), **OPINIONATED
    )
    run = make_run(
        train_file=str(tmp_path / "train.csv"),
        validation_file=str(tmp_path / "dev.csv"),
        teacher_name_or_path=str(teacher),
        augmentation=["words", "pairs"],
        augmentation_copies=2,
    )
    rows = prepared(run)
    report = run.transfer.report
    assert report["augmented_rows"]["pairs"] == 16 and report["augmented_rows"]["words"] > 0
    assert set(report["mean_difference_from_source"]) == {"words", "pairs"}
    assert np.isnan(rows["labels"][8:]).all() and not np.isnan(rows["labels"][:8]).any()


def test_the_rows_that_an_earlier_run_made_are_used(make_run, tmp_path):
    options = {"augmentation": ["words"], "augmentation_dir": str(tmp_path / "rows"), "max_train_samples": 6}
    first = make_run(**options).transfer.gather(16)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    again = make_run(**options, seed=7).transfer.gather(16)
    assert again[:] == first[:] and len(written) == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()} == written


def test_a_masked_language_model_proposes(make_run, shelf, tmp_path):
    model = save_model(tmp_path / "masked", cls=BertForMaskedLM, **OPINIONATED)
    options = {"augmentation": ["words"], "max_train_samples": 6, "augmentation_copies": 4}
    run = make_run(**options, augmentation_model=str(model))
    made, others = (part.transfer.gather(16)["text"][:] for part in (run, make_run(**options)))
    assert len(made) > 6 and made != others


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"soft_target_weight": 0.0}, "Only labels are learnt from"),
        ({"unlabelled_min_confidence": 0.9, "num_train_epochs": 1}, "set teacher_cache_dir: true"),
        ({"unlabelled_min_confidence": 0.9, "teacher_cache_dir": "false"}, "set teacher_cache_dir: true"),
        ({"augmentation": ["pairs"]}, "single texts"),
        ({"augmentation": ["words"], "augmentation_model": "nowhere"}, "'nowhere'"),
        ({"augmentation": ["words"], "augmentation_vectors": "nowhere.txt"}, "is no file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(options, message, make_run, more, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        make_run(unlabelled_file=str(more), **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_head_for_masked_words_is_refused(make_run, shelf):
    run = make_run(augmentation=["words"], augmentation_model=str(shelf / "headless"))
    with pytest.raises(InputError, match="no trained head for masked words"):
        run.get_teacher_ready()


def test_teacher_and_baseline_learn_from_labels_alone(command, run_script, more, tmp_path, monkeypatch):
    learnt = []

    def recorded(model, args, data, *others):
        learnt.append([label for label in data.train["labels"]])
        return train(model, args, data, *others)

    monkeypatch.setattr("hf_distill.workflow.teacher_finetuning.train", recorded)
    monkeypatch.setattr("hf_distill.workflow.run.train", recorded)
    options = {"finetune_teacher": "true", "baseline": "true", "augmentation": "words", "augmentation_copies": 1}
    assert run_script("distill_glue.py", command(**options, unlabelled_file=more, teacher_cache_dir="true")) == 0
    teacher, student, baseline = learnt
    assert len(teacher) == len(baseline) == 48 and {*teacher, *baseline} == {0, 1}
    counted = DistillationReport.load(tmp_path / "out").data["transfer"]
    assert student == teacher + [-100] * (30 + counted["augmented_rows"]["words"])
    assert "transfer.unlabelled_rows | 30" in DistillationReport.load(tmp_path / "out").to_markdown()


def test_a_live_teacher_answers_the_same_rows(make_run, more):
    stored, live = (
        make_run(unlabelled_file=str(more), teacher_cache_dir=name, overwrite_output_dir=True)
        for name in ("true", "false")
    )
    assert prepared(stored)[:] == prepared(live)[:]
    assert stored.transfer.report == live.transfer.report


def test_fine_tuning_without_a_teacher_refuses_rows_without_a_label(run_script, shelf, more, tmp_path, capfd):
    arguments = ["--student_name_or_path", shelf / "teacher", "--train_file", shelf / "train.csv"]
    arguments += ["--validation_file", shelf / "dev.csv", "--output_dir", tmp_path / "out", "--use_cpu"]
    assert run_script("finetune_student.py", [*arguments, "--unlabelled_file", more]) == 2
    assert "unlabelled_file" in capfd.readouterr().err


def test_confidence_by_hand():
    assert row_confidence(
        np.array([[0.0, np.log(3.0)]], dtype=np.float32), "single_label_classification"
    ) == pytest.approx(0.75)
    several = np.log(np.array([[3.0, 1 / 4, 1.0]], dtype=np.float32))
    assert row_confidence(several, "multi_label_classification") == pytest.approx((0.75 + 0.8 + 0.5) / 3)


def test_difference_by_hand():
    one, other = np.array([[1.0, -1.0], [1.0, -1.0]]), np.array([[2.0, -3.0], [1.0, 2.0]])
    assert differing(one, other, "single_label_classification").tolist() == [0, 1]
    assert differing(one, other, "multi_label_classification").tolist() == [0, 1]
    assert differing(one[:, :1], other[:, :1] + 2, "regression").tolist() == [3, 2]
