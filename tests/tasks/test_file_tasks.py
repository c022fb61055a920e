import bz2
import csv
import gzip
import json

import numpy as np
import pytest

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task

ROWS = [("a fine film", "good"), ('it said "go", twice', "bad"), ("line one\nline two", "good")]


def write_csv(path, rows, header=("text", "label"), delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load(train, validation, **options):
    return load_task(DataArguments(train_file=str(train), validation_file=str(validation), **options))


def load_labels(tmp_path, train, validation=None):
    """Load JSONL files with these labels; without `validation`, the same rows."""
    for name, labels in (("train", train), ("dev", validation or train)):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": f"text {i}", "label": y} for i, y in enumerate(labels)])
    return load(tmp_path / "train.jsonl", tmp_path / "dev.jsonl")


def load_csv_labels(tmp_path, train, validation=None):
    for name, labels in (("train", train), ("dev", validation or train)):
        write_csv(tmp_path / f"{name}.csv", [(f"text {i}", y) for i, y in enumerate(labels)])
    return load(tmp_path / "train.csv", tmp_path / "dev.csv")


def test_csv_is_read_with_its_quotes(tmp_path):
    task = load(write_csv(tmp_path / "reviews.csv", ROWS), write_csv(tmp_path / "dev.csv", ROWS[:1]))

    assert task.name == "reviews"
    assert task.label_names == ["bad", "good"]
    assert task.problem_type == "single_label_classification"
    assert (task.metrics, task.primary_metric) == (("accuracy", "f1"), "accuracy")
    assert task.train[:] == {"text": [text for text, _ in ROWS], "label": [1, 0, 1]}
    assert task.evaluation["validation"][:] == {"text": ["a fine film"], "label": [1]}
    assert task.source["files"] == ["reviews.csv", "dev.csv"]


def test_tsv_is_read_without_quotes(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text('text\tlabel\n"open quote\tgood\nsays "so"\tbad\n')

    task = load(path, path)

    assert task.train["text"][:] == ['"open quote', 'says "so"']


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open)])
def test_compressed_files_are_read(suffix, opener, tmp_path):
    plain = write_csv(tmp_path / "rows.csv", ROWS)
    packed = tmp_path / f"rows.csv{suffix}"
    with opener(packed, "wb") as stream:
        stream.write(plain.read_bytes())

    assert load(packed, packed).train[:] == load(plain, plain).train[:]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\ngrün,a\nblau,b\n".encode("utf-8-sig"))

    assert load(path, path).train["text"][:] == ["grün", "blau"]


def test_named_columns_are_read_and_the_others_are_not(tmp_path):
    path = write_csv(
        tmp_path / "rows.csv",
        [("1", "Who?", "Me.", "yes"), ("2", "Why?", "Me.", "no")],
        header=("label", "q", "a", "fits"),
    )

    task = load(path, path, text_column="q", text_pair_column="a", label_column="fits")

    assert task.train[:] == {"text": ["Who?", "Why?"], "text_pair": ["Me.", "Me."], "label": [1, 0]}


@pytest.mark.parametrize(
    "names", [("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "sentence"), ("text", "text_pair")]
)
def test_conventional_names_of_pairs_are_found(names, tmp_path):
    path = write_csv(tmp_path / "rows.csv", [("a", "b", "x"), ("c", "d", "y")], header=(*names, "label"))

    assert load(path, path).train[:] == {"text": ["a", "c"], "text_pair": ["b", "d"], "label": [0, 1]}


def test_a_change_of_the_file_is_seen_at_once(tmp_path):
    path = write_csv(tmp_path / "rows.csv", ROWS)
    before = load(path, path)
    write_csv(path, [*ROWS, ("a new row", "bad")])

    after = load(path, path)

    assert len(after.train) == len(before.train) + 1
    assert after.source["fingerprint"] != before.source["fingerprint"]


@pytest.mark.parametrize("load_these", [load_labels, load_csv_labels])
@pytest.mark.parametrize(
    ("labels", "names", "encoded"),
    [
        ([1, 0, 2, 1], ["LABEL_0", "LABEL_1", "LABEL_2"], [1, 0, 2, 1]),
        ([10, 9, 10], ["9", "10"], [1, 0, 1]),
        ([-1, 1, 0], ["-1", "0", "1"], [0, 2, 1]),
        (["b", "a", " b"], ["a", "b"], [1, 0, 1]),
        ([True, False], ["false", "true"], [1, 0]),
    ],
)
def test_words_and_whole_numbers_are_classes(load_these, labels, names, encoded, tmp_path):
    if labels == [True, False] and load_these is load_csv_labels:
        names = ["False", "True"]

    task = load_these(tmp_path, labels)

    assert task.problem_type == "single_label_classification"
    assert task.label_names == names
    assert task.train["label"][:] == encoded


@pytest.mark.parametrize("load_these", [load_labels, load_csv_labels])
@pytest.mark.parametrize("labels", [[0.5, 2, 1.25], [1.0, 2.0, 3.0], [1e-3, 2, 3], [-0.1, 4, 5]])
def test_numbers_with_a_fraction_are_scores(load_these, labels, tmp_path):
    task = load_these(tmp_path, labels, [2])

    assert task.problem_type == "regression"
    assert task.label_names is None
    assert task.num_labels == 1
    assert task.metrics == ("spearman", "pearson")
    assert task.train["label"][:] == np.asarray(labels, dtype=np.float32).tolist()
    assert task.evaluation["validation"]["label"][:] == [2.0]


@pytest.mark.parametrize(
    ("train", "validation", "names", "encoded"),
    [
        ([["b"], ["a", "b"], []], [["a"]], ["a", "b"], [[0, 1], [1, 1], [0, 0]]),
        ([[0, 1, 0], [1, 1, 0]], [[0, 0, 1]], ["LABEL_0", "LABEL_1", "LABEL_2"], [[0, 1, 0], [1, 1, 0]]),
    ],
)
def test_lists_are_several_labels_a_row(train, validation, names, encoded, tmp_path):
    task = load_labels(tmp_path, train, validation)

    assert task.problem_type == "multi_label_classification"
    assert task.label_names == names
    assert task.primary_metric == "f1"
    assert task.train["label"][:] == encoded
    assert all(isinstance(value, float) for value in task.train[0]["label"])


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (["a", "b", None], None, "line 3: the label is missing"),
        (["a", "b", ""], None, "line 3: the label is missing"),
        ([0.5, float("nan")], None, "line 2: the label is missing"),
        ([0.5, float("inf")], None, "line 2: the label inf is not finite"),
        ([0.5, "n/a", 1.5], None, "line 2: the label 'n/a' is a word but 0.5 in line 1 is a number"),
        (["n/a", 1], None, "line 2: the label 1 is a number but 'n/a' in line 1 is a word"),
        (["a", ["a"]], None, r"line 2: the label \['a'\] is a list but 'a' in line 1 is a word"),
        (["a", {"b": 1}], None, "line 2: the label {'b': 1} is no word"),
        (["a", "b"], ["a", "c"], r"dev.jsonl, line 2: the label 'c' is none of those to learn \('a', 'b'\)"),
        ([0, 1], [2], "line 1: the label 2 is none of those to learn"),
        ([0.5, 1.5], ["high"], "line 1: the label 'high' is no number"),
        ([["a"], ["b"]], [["c"]], "line 1: the label 'c' is none of those to learn"),
        ([["a"], ["b"]], ["a"], "line 1: the label 'a' is no list"),
        ([[0, 1], [1]], None, r"line 2: the label \[1\] is not a list of 2 zeros and ones"),
        ([[0, 1], [1, 2]], None, r"line 2: the label \[1, 2\] is not a list of 2 zeros and ones"),
        ([["a"], ["a"]], None, "know only 1 label"),
        ([["a"], [["b"]]], None, r"line 2: the label \[\['b'\]\] is no word"),
        (["a", "a"], None, "2 training rows of train all have the label 'a'.*label_column"),
        ([0.5, 0.5], None, "all have the label 0.5"),
    ],
)
def test_labels_that_cannot_be_read_are_named_in_one_line(train, validation, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        load_labels(tmp_path, train, validation)
    assert "\n" not in str(error.value)


def write_bytes(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"text,label\n", "holds no rows"),
        ("rows.tsv", b"text\tlabel\n\n", "holds no rows"),
        ("rows.jsonl", b"\n", "holds no rows"),
        ("rows.csv", b"body,label\na,b\n", "no column named text or sentence; its columns are 'body', 'label'"),
        ("rows.csv", b"text,y\na,b\n", "no column named label; its columns are 'text', 'y'; set label_column"),
        ("rows.csv", b"text,label,text\na,b,c\n", "more than one column named 'text'"),
        ("rows.csv", b"text,label\na,x\nb,y,z\n", "line 3: found 3 fields where the header has 2"),
        ("rows.csv", b"text,label\na\n", "line 2: found 1 fields"),
        ("rows.csv", b'text,label\na,x\n"b\nc,y\nd,x\n', "line 3: the row that starts here is malformed"),
        ("rows.csv", b'text,label\na,x\n"b"c,y\n', "line 3: the row that starts here is malformed"),
        ("rows.tsv", b"text\tlabel\na\tx\nb\ty\tz\n", "line 3: found 3 fields"),
        ("rows.csv", b"text,label\n ,x\n", "line 2: 'text' is empty"),
        ("rows.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "lab', "line 2: not valid JSON"),
        ("rows.jsonl", b"[\n", "line 1: not valid JSON"),
        ("rows.jsonl", b'[{"text": "a"}]\n', "line 1: found a JSON list"),
        ("rows.jsonl", b'{"text": 3, "label": "x"}\n', "line 1: 'text' is 3, which is no text"),
        ("rows.jsonl", b'{"text": "a", "label": "x"}\n{"label": "y"}\n', "line 2: 'text' is empty"),
        ("rows.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file .*0x89 is not UTF-8"),
        ("rows.csv", b"text,label\na\0b,x\n", "not a text file .*NUL"),
        ("rows.csv", "text,label\ncafé,x\n".encode("latin-1"), "not a text file .*0xe9"),
        ("rows.csv.gz", b"text,label\n", "cannot be read .*gzip"),
        ("rows.csv.bz2", bz2.compress(b"text,label\na,b\n")[:-8], "cannot be read"),
        ("rows.xlsx", b"PK", "ends in '.xlsx', which is no kind of file"),
        ("rows", b"text", "ends in ''"),
    ],
)
def test_files_that_cannot_be_read_are_named_in_one_line(name, content, message, tmp_path):
    good = write_csv(tmp_path / "good.csv", ROWS)
    path = write_bytes(tmp_path / name, content)

    with pytest.raises(InputError, match=message) as error:
        load(path, good)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("train", "validation", "options", "message"),
    [
        ("nowhere.csv", "good.csv", {}, "nowhere.csv does not exist"),
        ("good.csv", "nowhere.csv", {}, "nowhere.csv does not exist"),
        ("folder.csv", "good.csv", {}, "folder.csv is a folder"),
        ("good.csv", "good.csv", {"text_column": "review"}, "no column 'review'; its columns are 'text', 'label'"),
        ("good.csv", "good.csv", {"text_pair_column": "label"}, "text_pair_column is set but text_column is not"),
        ("good.csv", "good.csv", {"text_column": "label"}, "one column cannot be two things"),
        ("good.csv", "other.csv", {}, "other.csv has no column 'text'; its columns are 'sentence', 'label'"),
        ("good.csv", "good.csv", {"data_dir": "."}, "data_dir is set, but rows from train_file do not use it"),
    ],
)
def test_arguments_that_do_not_fit_the_files(train, validation, options, message, tmp_path):
    write_csv(tmp_path / "good.csv", ROWS)
    write_csv(tmp_path / "other.csv", ROWS, header=("sentence", "label"))
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(InputError, match=message):
        load(tmp_path / train, tmp_path / validation, **options)


def test_rows_to_compare_on_are_required(tmp_path):
    path = write_csv(tmp_path / "good.csv", ROWS)

    with pytest.raises(InputError, match="validation_file is not set.*hold some rows back"):
        load_task(DataArguments(train_file=str(path)))


def test_the_source_is_fit_for_json_and_free_of_paths(tmp_path):
    path = write_csv(tmp_path / "rows.csv", ROWS)

    text = json.dumps(load(path, path).source)

    assert str(tmp_path) not in text
    assert len(json.loads(text)["fingerprint"]) == 64
