import os
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import GLUE_TASKS, TASK_NAMES, load_task

GLUE_DIR = os.environ.get("GLUE_DIR")

# Each task's files as GLUE's own download has them: the header, and rows with what they must become.
PARSE = ["( a )", "( b )", "(ROOT a)", "(ROOT b)"]
LAYOUTS = {
    "cola": (
        "CoLA",
        None,
        [
            (["gj04", "1", "", 'They "drank" the pub dry.'], ('They "drank" the pub dry.', 1)),
            (["gj04", "0", "*", '"Him drank.'], ('"Him drank.', 0)),
        ],
    ),
    "sst2": (
        "SST-2",
        ["sentence", "label"],
        [(["a fine film ", "1"], ("a fine film ", 1)), (['" dull', "0"], ('" dull', 0))],
    ),
    "mrpc": (
        "MRPC",
        ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
        [
            (["1", "70", "71", 'He said "so .', "So he said ."], ('He said "so .', "So he said .", 1)),
            (["0", "72", "73", "Yes .", 'No ."'], ("Yes .", 'No ."', 0)),
        ],
    ),
    "qqp": (
        "QQP",
        ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
        [
            (["133", "213", "214", "How old?", "What age?", "1"], ("How old?", "What age?", 1)),
            (["134", "215", "216", "How far?", "What age?", "0"], ("How far?", "What age?", 0)),
        ],
    ),
    "stsb": (
        "STS-B",
        ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"],
        [
            (["0", "g", "f", "2012", "1", "none", "none", "A plane.", "An aircraft.", "4.750"], None),
            (["1", "g", "f", "2012", "4", "none", "none", "A plane.", "A flute.", "0.000"], None),
        ],
    ),
    "mnli": (
        "MNLI",
        ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"]
        + ["sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "label1", "gold_label"],
        [
            (["0", "3", "3n", "slate", *PARSE, "It rains.", "It is wet.", "neutral", "entailment"], None),
            (["1", "4", "4c", "slate", *PARSE, "It rains.", "Tea is hot.", "neutral", "neutral"], None),
            (["2", "5", "5c", "slate", *PARSE, "It rains.", "It is dry.", "neutral", "contradiction"], None),
        ],
    ),
    "qnli": (
        "QNLI",
        ["index", "question", "sentence", "label"],
        [
            (["0", "When?", "In 1066.", "entailment"], ("When?", "In 1066.", 0)),
            (["1", "Who?", "In 1067.", "not_entailment"], ("Who?", "In 1067.", 1)),
        ],
    ),
    "rte": (
        "RTE",
        ["index", "sentence1", "sentence2", "label"],
        [
            (["0", "It rains.", "It is dry.", "not_entailment"], ("It rains.", "It is dry.", 1)),
            (["1", "It rains.", "It is wet.", "entailment"], ("It rains.", "It is wet.", 0)),
        ],
    ),
    "wnli": (
        "WNLI",
        ["index", "sentence1", "sentence2", "label"],
        [
            (["0", "I stuck a pin through it.", "The pin was stuck.", "1"], None),
            (["1", "I stuck a pin through it.", "The carrot was stuck.", "0"], None),
        ],
    ),
}
EXPECTED = {
    "stsb": [("A plane.", "An aircraft.", 4.75), ("A plane.", "A flute.", 0.0)],
    "mnli": [("It rains.", "It is wet.", 0), ("It rains.", "Tea is hot.", 1), ("It rains.", "It is dry.", 2)],
    "wnli": [
        ("I stuck a pin through it.", "The pin was stuck.", 1),
        ("I stuck a pin through it.", "The carrot was stuck.", 0),
    ],
}
# Class names in the order of the indices in the Hub's nyu-mll/glue, and GLUE's metrics.
FACTS = {
    "cola": (["unacceptable", "acceptable"], {"matthews_correlation"}),
    "sst2": (["negative", "positive"], {"accuracy"}),
    "mrpc": (["not_equivalent", "equivalent"], {"accuracy", "f1"}),
    "qqp": (["not_duplicate", "duplicate"], {"accuracy", "f1"}),
    "stsb": (None, {"pearson", "spearman"}),
    "mnli": (["entailment", "neutral", "contradiction"], {"accuracy"}),
    "qnli": (["entailment", "not_entailment"], {"accuracy"}),
    "rte": (["entailment", "not_entailment"], {"accuracy"}),
    "wnli": (["not_entailment", "entailment"], {"accuracy"}),
}


def write_tsv(path, header, rows, start="", end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) for row in ([header] if header else []) + rows]
    path.write_text(start + "\n".join(lines) + end, encoding="utf-8")


def write_glue(root, name):
    folder, header, rows = LAYOUTS[name]
    fields = [row for row, _ in rows]
    write_tsv(root / folder / "train.tsv", header, fields)
    for dev in ("dev_matched", "dev_mismatched") if name == "mnli" else ("dev",):
        write_tsv(root / folder / f"{dev}.tsv", header, fields[::-1], start="\ufeff" if name == "mrpc" else "", end="")
    return root


def expected_rows(name):
    return EXPECTED.get(name) or [row for _, row in LAYOUTS[name][2]]


def rows_of(dataset):
    names = [name for name in ("text", "text_pair", "label") if name in dataset.column_names]
    return [tuple(row[name] for name in names) for row in dataset]


def load(name, folder, **options):
    return load_task(DataArguments(task_name=name, data_dir=str(folder), **options))


def test_every_task_of_glue_is_known():
    assert set(GLUE_TASKS) == set(LAYOUTS) == set(FACTS)
    assert set(TASK_NAMES) == set(LAYOUTS) | {"rotten_tomatoes"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_in_the_layout_of_the_download(name, tmp_path):
    task = load(name, write_glue(tmp_path, name))

    label_names, metrics = FACTS[name]
    assert (task.name, task.label_names, set(task.metrics)) == (name, label_names, metrics)
    assert task.primary_metric in metrics
    assert task.num_labels == (1 if label_names is None else len(label_names))
    assert task.problem_type == ("regression" if label_names is None else "single_label_classification")
    assert rows_of(task.train) == expected_rows(name)
    assert list(task.evaluation) == (
        ["validation_matched", "validation_mismatched"] if name == "mnli" else ["validation"]
    )
    for rows in task.evaluation.values():
        assert rows_of(rows) == expected_rows(name)[::-1]
    assert task.source["dataset"] == "nyu-mll/glue"
    assert task.source["config"] == name
    assert str(tmp_path) not in str(task.source)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_folder_of_the_task_itself_will_do(name, tmp_path):
    write_glue(tmp_path, name)

    assert rows_of(load(name, tmp_path / LAYOUTS[name][0]).train) == expected_rows(name)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("SST-2", "sst2"), ("sst_2", "sst2"), ("sts-b", "stsb"), ("STS-B", "stsb"), ("CoLA", "cola"), ("MNLI", "mnli")],
)
def test_usual_spellings_are_accepted(spelling, name, tmp_path):
    assert load(spelling, write_glue(tmp_path, name)).name == name


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_hub_gives_the_same_task_as_the_files(name, tmp_path, monkeypatch):
    """`load_dataset` reads a folder of that name before it asks the Hub, so that its real path is run offline."""
    write_hub_copy(tmp_path / "nyu-mll" / "glue", name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    hub, files = load_task(DataArguments(task_name=name)), load(name, write_glue(tmp_path / "files", name))

    assert hub.train[:] == files.train[:]
    assert {split: rows[:] for split, rows in hub.evaluation.items()} == {
        split: rows[:] for split, rows in files.evaluation.items()
    }
    assert hub.source["fingerprint"] == files.source["fingerprint"]
    assert (hub.label_names, hub.problem_type) == (files.label_names, files.problem_type)


def write_hub_copy(folder, name):
    """The columns and features that the Hub's data set has."""
    columns = GLUE_TASKS[name].columns
    names, rows = FACTS[name][0], expected_rows(name)
    features = {column: Value("string") for column in columns.names[:-1]}
    features["label"] = Value("float32") if names is None else ClassLabel(names=names)
    features["idx"] = Value("int32")
    evaluation = ["validation_matched", "validation_mismatched"] if name == "mnli" else ["validation"]
    folder.mkdir(parents=True)
    listing = [f"configs:\n- config_name: {name}\n  data_files:"]
    for split in ["train", *evaluation]:
        ordered = rows if split == "train" else rows[::-1]
        columns_of_rows = dict(zip(columns.names, map(list, zip(*ordered, strict=True)), strict=True))
        data = Dataset.from_dict({**columns_of_rows, "idx": list(range(len(rows)))}, features=Features(features))
        data.to_parquet(folder / name / f"{split}.parquet")
        listing.append(f"  - split: {split}\n    path: {name}/{split}.parquet")
    (folder / "README.md").write_text("---\n" + "\n".join(listing) + "\n---\n")


def test_without_the_hub_the_error_tells_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(InputError, match="nyu-mll/glue cannot be loaded.*data_dir") as error:
        load_task(DataArguments(task_name="rte"))
    assert "\n" not in str(error.value)


def test_mnli_rows_without_a_gold_label_are_left_out(tmp_path):
    write_glue(tmp_path, "mnli")
    _, header, rows = LAYOUTS["mnli"]
    fields = [row for row, _ in rows]
    write_tsv(tmp_path / "MNLI" / "dev_matched.tsv", header, [*fields, [*fields[0][:-1], "-"]])

    task = load("mnli", tmp_path)

    assert task.evaluation["validation_matched"]["label"][:] == [0, 1, 2]


def test_carriage_returns_end_lines_but_do_not_break_texts(tmp_path):
    write_tsv(tmp_path / "dev.tsv", ["sentence", "label\r"], [["good", "1\r"], ["bad", "0\r"]])
    write_tsv(tmp_path / "train.tsv", ["sentence", "label"], [["one\rtwo", "1"], ["next\u0085line\u2028end", "0"]])

    task = load("sst2", tmp_path)

    assert task.train["text"][:] == ["one\rtwo", "next\u0085line\u2028end"]
    assert task.evaluation["validation"]["label"][:] == [1, 0]


@pytest.mark.skipif(GLUE_DIR is None, reason="GLUE_DIR does not name a folder with GLUE's TSV files")
@pytest.mark.parametrize(
    ("name", "train", "validation"),
    [("sst2", 67349, 872), ("cola", 8551, 1043), ("mrpc", 3668, 408), ("stsb", 5749, 1500)],
)
def test_the_files_that_glue_hands_out_are_read_whole(name, train, validation):
    task = load(name, Path(GLUE_DIR))

    assert task.source["rows"] == {
        "train": {"used": train, "available": train},
        "validation": {"used": validation, "available": validation},
    }
    assert len(task.train) == train
    labels = np.asarray(task.train["label"])
    if task.label_names is None:
        assert 0 <= labels.min() < labels.max() <= 5
    else:
        assert set(labels) == set(range(task.num_labels))
    for rows in (task.train, task.evaluation["validation"]):
        assert all(text.strip() and "\ufeff" not in text for text in rows["text"])
