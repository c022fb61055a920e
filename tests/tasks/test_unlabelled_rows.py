"""Rows without a label: found where they are said to be, and nothing of a label comes with them."""

import csv
import json
import logging
import math

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task
from hf_distill.tasks.task import with_missing_labels


def write_csv(path, rows, header=("text", "label")):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return str(path)


def write_jsonl(path, labels):
    path.write_text("".join(json.dumps({"text": f"text {i}", "label": y}) + "\n" for i, y in enumerate(labels)))
    return str(path)


@pytest.fixture
def files(tmp_path):
    train = write_csv(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(40)])
    dev = write_csv(tmp_path / "dev.csv", [("one", "a"), ("two", "b")])
    return {"train_file": train, "validation_file": dev}


def load(**options):
    return load_task(DataArguments(**options), with_unlabelled=True)


def write_sst2(folder, test="index\tsentence\n0\tfirst\n1\tsecond\n"):
    (folder / "SST-2").mkdir()
    rows = "".join(f"sentence {i}\t{i % 2}\n" for i in range(30))
    (folder / "SST-2" / "train.tsv").write_text("sentence\tlabel\n" + rows)
    (folder / "SST-2" / "dev.tsv").write_text("sentence\tlabel\nfine\t1\npoor\t0\n")
    if test:
        (folder / "SST-2" / "test.tsv").write_text(test)
    return {"task_name": "sst2", "data_dir": str(folder)}


def test_without_options_every_row_has_a_label(files):
    task = load(**files)
    assert task.unlabelled is None
    assert "unlabelled" not in task.source["rows"] and "unlabelled_fingerprint" not in task.source


def test_a_file_of_texts_whose_labels_are_not_read(files, tmp_path):
    more = write_csv(tmp_path / "more.csv", [("neu", "what?"), ("newer", "")], header=("text", "label"))
    task = load(**files, unlabelled_file=more)
    assert task.unlabelled[:] == {"text": ["neu", "newer"]}
    assert task.source["rows"]["unlabelled"] == {"used": 2, "available": 2}
    assert task.source["fingerprint"] == load(**files).source["fingerprint"]


def test_an_empty_label_makes_a_row_one_without(files, tmp_path, caplog):
    logging.getLogger("hf_distill").propagate = True
    rows = [("a b", "x"), ("c", ""), ("d", "y"), ("e", " ")]
    task = load(
        **{**files, "train_file": write_csv(tmp_path / "some.csv", rows)}
        | {"validation_file": write_csv(tmp_path / "other.csv", [("v", "x")])}
    )
    assert task.train[:] == {"text": ["a b", "d"], "label": [0, 1]}
    assert task.unlabelled[:] == {"text": ["c", "e"]}
    assert "2 of 4 rows have no label" in caplog.text and "line 3, 5" in caplog.text


def test_an_empty_label_to_compare_on_is_an_error(tmp_path):
    train, dev = (
        write_jsonl(tmp_path / "train.jsonl", ["a", "b", None]),
        write_jsonl(tmp_path / "dev.jsonl", ["a", None]),
    )
    with pytest.raises(InputError, match="dev.jsonl, line 2: the label is missing"):
        load(train_file=train, validation_file=dev)


def test_labels_that_are_empty_lists_are_labels(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", [["a"], ["b"], [], None])
    task = load(train_file=train, validation_file=write_jsonl(tmp_path / "dev.jsonl", [["a"]]))
    assert task.train["label"][:] == [[1, 0], [0, 1], [0, 0]]
    assert task.unlabelled["text"][:] == ["text 3"]


def test_no_label_at_all(tmp_path, files):
    train = write_csv(tmp_path / "none.csv", [("a", ""), ("b", "")])
    with pytest.raises(InputError, match="no row has a label"):
        load(train_file=train, validation_file=files["validation_file"])


def test_the_rest_of_the_training_rows_loses_its_labels(files):
    task = load(**files, max_train_samples=10, unlabelled_rest=True)
    alone = load(**files, max_train_samples=10)
    assert task.train[:] == alone.train[:]
    assert task.unlabelled.column_names == ["text"]
    assert sorted([*task.train["text"], *task.unlabelled["text"]]) == sorted(f"text {i}" for i in range(40))
    assert task.source["rows"]["unlabelled"] == {"used": 30, "available": 30}


def test_changing_the_labels_of_the_rest_changes_nothing(files, tmp_path):
    """The one thing that must not leak."""
    before = load(**files, max_train_samples=10, unlabelled_rest=True)
    kept = set(before.train["text"])
    rows = [(f"text {i}", "ab"[i % 2 if f"text {i}" in kept else 1 - i % 2]) for i in range(40)]
    other = {**files, "train_file": write_csv(tmp_path / "turned.csv", rows)}
    after = load(**other, max_train_samples=10, unlabelled_rest=True)
    assert after.train[:] == before.train[:] and after.unlabelled[:] == before.unlabelled[:]
    assert after.source["unlabelled_fingerprint"] == before.source["unlabelled_fingerprint"]


def test_how_many_rows_without_a_label(files):
    small, large = (
        load(**files, max_train_samples=10, unlabelled_rest=True, max_unlabelled_samples=count) for count in (5, 12)
    )
    assert (len(small.train), len(small.unlabelled)) == (10, 5)
    assert set(small.unlabelled["text"]) < set(large.unlabelled["text"])
    assert small.source["rows"]["unlabelled"] == {"used": 5, "available": 30}


def test_sources_add_up(files, tmp_path):
    more = write_csv(tmp_path / "more.csv", [("new",)], header=("text",))
    task = load(**files, max_train_samples=39, unlabelled_rest=True, unlabelled_file=more)
    assert len(task.unlabelled) == 2 and task.unlabelled[1] == {"text": "new"}


def test_glue_files_to_be_answered(tmp_path):
    task = load(**write_sst2(tmp_path), unlabelled_split="test")
    assert task.unlabelled[:] == {"text": ["first", "second"]}
    assert task.source["files"] == ["train.tsv", "dev.tsv", "test.tsv"]


def test_cola_s_file_to_be_answered_has_a_header_unlike_its_others(tmp_path):
    (tmp_path / "CoLA").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "CoLA" / f"{name}.tsv").write_text("gj04\t1\t\tFine.\ngj04\t0\t*\tNot fine.\n")
    (tmp_path / "CoLA" / "test.tsv").write_text("index\tsentence\n0\tWhat?\n")
    task = load(task_name="cola", data_dir=str(tmp_path), unlabelled_split="test")
    assert task.unlabelled[:] == {"text": ["What?"]}
    task = load(task_name="cola", data_dir=str(tmp_path), unlabelled_file=str(tmp_path / "CoLA" / "test.tsv"))
    assert task.unlabelled[:] == {"text": ["What?"]}


def test_pairs_of_a_glue_task_by_its_own_names(tmp_path):
    (tmp_path / "MRPC").mkdir()
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    for name in ("train", "dev"):
        (tmp_path / "MRPC" / f"{name}.tsv").write_text(header + "1\t1\t2\ta\tb\n0\t1\t2\tc\td\n")
    options = {"task_name": "mrpc", "data_dir": str(tmp_path)}
    for names in (("#1 String", "#2 String"), ("sentence1", "sentence2"), ("premise", "hypothesis")):
        file = write_csv(tmp_path / "more.csv", [("e", "f")], header=names)
        assert load(**options, unlabelled_file=file).unlabelled[:] == {"text": ["e"], "text_pair": ["f"]}
    with pytest.raises(InputError, match="no two columns"):
        load(**options, unlabelled_file=write_csv(tmp_path / "single.csv", [("e",)], header=("sentence",)))


def test_a_split_of_the_hub_and_rows_of_class_minus_one(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    splits = {
        "train": {"text": ["a", "b", "c"], "label": [0, 1, -1]},
        "validation": {"text": ["d"], "label": [1]},
        "unsupervised": {"text": ["e", "f"], "label": [1, 0]},
    }
    folder = tmp_path / "rows"
    (folder / "data").mkdir(parents=True)
    for name, rows in splits.items():
        file = folder / "data" / f"{name}-00000-of-00001.parquet"
        Dataset.from_dict(rows, features=features).to_parquet(str(file))
    task = load(dataset_name=str(folder), unlabelled_split="unsupervised")
    assert task.train[:] == {"text": ["a", "b"], "label": [0, 1]}
    assert task.unlabelled[:] == {"text": ["c", "e", "f"]}
    assert task.source["splits"] == ["train", "validation", "unsupervised"]
    for name, message in (("validation", "are compared"), ("train", "unlabelled_rest"), ("nothing", "no such split")):
        with pytest.raises(InputError, match=message):
            load(dataset_name=str(folder), unlabelled_split=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unlabelled_split": "dev"}, "'dev', on which teacher and student are compared"),
        ({"unlabelled_split": "validation"}, "on which teacher and student are compared"),
        ({"unlabelled_split": "train"}, "set unlabelled_rest"),
        ({"unlabelled_split": "nowhere"}, "nowhere.tsv does not exist"),
        ({"unlabelled_rest": True, "max_train_samples": 30}, "there is no rest"),
        ({"max_unlabelled_samples": 3}, "there are no rows without a label"),
        ({"unlabelled_ratio": 3.0}, "there are no rows without a label"),
        ({"unlabelled_min_confidence": 0.9}, "there are no rows without a label"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(options, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        load(**write_sst2(tmp_path), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unlabelled_rest": True}, "set max_train_samples"),
        ({"max_unlabelled_samples": 0}, "use 1 or more"),
        ({"augmentation_copies": 0}, "use 1 or more"),
        ({"unlabelled_ratio": 0.0}, "above 0"),
        ({"unlabelled_ratio": math.inf}, "above 0"),
        ({"unlabelled_min_confidence": 1.0}, "between 0 and 1"),
        ({"augmentation_probability": 0.0}, "above 0"),
        ({"augmentation": []}, "words and pairs"),
        ({"augmentation": ["letters"]}, "words and pairs"),
        ({"augmentation": ["words", "words"]}, "words and pairs"),
        ({"augmentation_model": "bert", "augmentation": ["pairs"]}, r"augmentation: \[words\]"),
        ({"augmentation_vectors": "glove.txt"}, r"augmentation: \[words\]"),
        ({"augmentation_dir": "rows"}, "augmentation is not"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(InputError, match=message) as error:
        DataArguments(task_name="sst2", **options)
    assert "\n" not in str(error.value)


def test_the_same_file_twice(files):
    for name in files:
        with pytest.raises(InputError, match=f"the same file as {name}"):
            load(**files, unlabelled_file=files[name])


@pytest.mark.parametrize(
    "options", [{"unlabelled_file": "more.csv"}, {"unlabelled_rest": True, "max_train_samples": 5}]
)
def test_without_a_teacher_rows_without_a_label_teach_nothing(files, options):
    with pytest.raises(InputError, match="labels alone"):
        load_task(DataArguments(**files, **options))


def test_the_label_that_stands_for_none():
    rows = Dataset.from_dict({"text": ["a", "b"]})
    single = with_missing_labels(rows, "single_label_classification", 3)
    assert single["label"][:] == [-100, -100] and single.features["label"] == Value("int64")
    several = with_missing_labels(rows, "multi_label_classification", 3)
    assert several["label"][:] == [[-100.0] * 3] * 2
    scores = with_missing_labels(rows, "regression", 1)
    assert all(math.isnan(score) for score in scores["label"]) and scores.features["label"] == Value("float32")
