import pytest

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task


def write_tsv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    """A folder that holds a good SST-2, for a test to spoil."""
    for name in ("train", "dev"):
        write_tsv(tmp_path / "SST-2" / f"{name}.tsv", ["sentence", "label"], [["a fine film ", "1"], ["dull", "0"]])
    return tmp_path


def load(name, folder, **options):
    return load_task(DataArguments(task_name=name, data_dir=str(folder), **options))


def test_broken_rows_are_left_out_and_counted(tmp_path, caplog):
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    whole = [["1", "1", "2", "How old?", "What age?", "1"], ["2", "3", "4", "How far?", "What age?", "0"]]
    broken = [["3", "5", "6", "A question that"], ["goes on?", "Another?", "0"], ["4", "7", "8", " ", "Empty?", "0"]]
    write_tsv(tmp_path / "QQP" / "train.tsv", header, [whole[0], *broken, whole[1]])
    write_tsv(tmp_path / "QQP" / "dev.tsv", header, whole)

    task = load("qqp", tmp_path)

    assert task.train["label"][:] == [1, 0]
    assert task.source["rows"]["train"] == {"used": 2, "available": 2}
    warnings = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(warnings) == 1
    assert "3 of 5 rows" in warnings[0]
    assert "line 3, 4, 5" in warnings[0]


def spoil_missing_folder(root):
    return root / "nowhere"


def spoil_no_task_folder(root):
    (root / "SST-2").rename(root / "other")
    return root


def spoil_no_dev_file(root):
    (root / "SST-2" / "dev.tsv").unlink()
    return root


def spoil_empty_file(root):
    (root / "SST-2" / "dev.tsv").write_text("")
    return root


def spoil_header(root):
    write_tsv(root / "SST-2" / "train.tsv", ["text", "label"], [["good", "1"]])
    return root


def spoil_label(root):
    write_tsv(root / "SST-2" / "train.tsv", ["sentence", "label"], [["good", "1"], ["bad", "2"]])
    return root


def spoil_all_rows(root):
    write_tsv(root / "SST-2" / "train.tsv", ["sentence", "label"], [["good"], ["bad"]])
    return root


def spoil_with_binary(root):
    (root / "SST-2" / "train.tsv").write_bytes(b"PAR1\0\0\0\1")
    return root


def spoil_one_class(root):
    write_tsv(root / "SST-2" / "train.tsv", ["sentence", "label"], [["good", "1"], ["fine", "1"]])
    return root


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing_folder, "nowhere is not a folder.*SST-2, CoLA"),
        (spoil_no_task_folder, "neither a folder for sst2 nor a train.tsv"),
        (spoil_no_dev_file, r"dev\.tsv does not exist"),
        (spoil_empty_file, r"dev\.tsv is empty"),
        (spoil_header, "no column 'sentence'; its columns are 'text', 'label'"),
        (spoil_label, r"train\.tsv, line 3: the label 2 is none of those to learn \(0, 1\)"),
        (spoil_all_rows, "no row of 2 fields"),
        (spoil_with_binary, "not a text file .*NUL"),
        (spoil_one_class, "2 training rows of sst2 all have the label 'positive'"),
    ],
)
def test_faults_in_the_files_are_named_in_one_line(spoil, message, root):
    with pytest.raises(InputError, match=message) as error:
        load("sst2", spoil(root))
    assert "\n" not in str(error.value)


def test_files_of_another_task_are_refused(tmp_path):
    for name in ("train", "dev"):
        write_tsv(
            tmp_path / "WNLI" / f"{name}.tsv",
            ["index", "sentence1", "sentence2", "label"],
            [["0", "a", "b", "1"], ["1", "c", "d", "0"]],
        )

    with pytest.raises(InputError, match="line 2: the label 1 is none of .*'entailment', 'not_entailment'"):
        load("rte", tmp_path / "WNLI")


@pytest.mark.parametrize(
    ("name", "nearest"), [("sst", "sst2"), ("stss-b", "stsb"), ("rotten_tomatos", "rotten_tomatoes"), ("QQQP", "qqp")]
)
def test_an_unknown_task_is_refused_with_the_nearest_name(name, nearest):
    with pytest.raises(InputError, match=f"no task '{name}'; did you mean {nearest}"):
        load_task(DataArguments(task_name=name))


def test_a_task_unlike_any_is_refused_with_all_the_names():
    with pytest.raises(InputError, match="There is no task 'wmt14'; The tasks are cola, sst2.*dataset_name"):
        load_task(DataArguments(task_name="wmt14"))


@pytest.mark.parametrize(
    ("option", "value"),
    [("validation_file", "dev.csv"), ("text_column", "text"), ("label_column", "y"), ("dataset_config_name", "sst2")],
)
def test_options_that_would_be_ignored_are_refused(option, value, tmp_path):
    with pytest.raises(InputError, match=f"{option} is set, but rows from task_name=sst2 do not use it"):
        load("sst2", tmp_path, **{option: value})
