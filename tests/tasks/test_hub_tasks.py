import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def write_dataset(folder, features, **splits):
    """A data set as the Hub would give it: `load_dataset` reads a folder in the same way."""
    rows = {split: Dataset.from_dict(columns, features=Features(features)) for split, columns in splits.items()}
    for split, data in DatasetDict(rows).items():
        data.to_parquet(folder / f"{split}-00000.parquet")
    return folder


def load(folder, **options):
    return load_task(DataArguments(dataset_name=str(folder), **options))


TEXT = Value("string")


def test_class_names_of_the_data_set_are_used(tmp_path):
    folder = write_dataset(
        tmp_path / "moods",
        {"text": TEXT, "label": ClassLabel(names=["sad", "glad", "angry"])},
        train={"text": ["a", "b", "c"], "label": [1, 0, 2]},
        validation={"text": ["d"], "label": [1]},
    )

    task = load(folder)

    assert task.name == "moods"
    assert task.label_names == ["sad", "glad", "angry"]
    assert task.train[:] == {"text": ["a", "b", "c"], "label": [1, 0, 2]}
    assert task.evaluation["validation"][:] == {"text": ["d"], "label": [1]}
    assert task.source["files"] == ["moods"]
    assert task.source["splits"] == ["train", "validation"]


def test_lists_of_named_classes_are_several_labels_a_row(tmp_path):
    folder = write_dataset(
        tmp_path / "emotions",
        {"text": TEXT, "labels": Sequence(ClassLabel(names=["joy", "anger", "fear"]))},
        train={"text": ["a", "b"], "labels": [[0, 2], []]},
        validation={"text": ["c"], "labels": [[1]]},
    )

    task = load(folder)

    assert task.problem_type == "multi_label_classification"
    assert task.label_names == ["joy", "anger", "fear"]
    assert task.train["label"][:] == [[1, 0, 1], [0, 0, 0]]
    assert task.evaluation["validation"]["label"][:] == [[0, 1, 0]]


def test_labels_without_names_are_read_as_in_files(tmp_path, caplog):
    folder = write_dataset(
        tmp_path / "scores",
        {"premise": TEXT, "hypothesis": TEXT, "rating": Value("float64")},
        train={"premise": ["a", "b", None], "hypothesis": ["c", "d", "e"], "rating": [1.0, 2.5, 3.0]},
        test={"premise": ["f"], "hypothesis": ["g"], "rating": [4.0]},
    )

    task = load(folder, label_column="rating")

    assert task.problem_type == "regression"
    assert task.train[:] == {"text": ["a", "b"], "text_pair": ["c", "d"], "label": [1.0, 2.5]}
    assert list(task.evaluation) == ["test"]
    assert "1 of 3 rows were left out" in caplog.text
    assert "no split for validation" in caplog.text


def test_every_split_for_validation_is_compared_on(tmp_path):
    rows = {"text": ["a", "b"], "label": [0, 1]}
    folder = write_dataset(
        tmp_path / "parts",
        {"text": TEXT, "label": Value("int64")},
        train=rows,
        validation_seen=rows,
        validation_unseen=rows,
    )
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(
            f"  - split: {split}\n    path: {split}-00000.parquet\n"
            for split in ("train", "validation_seen", "validation_unseen")
        )
        + "---\n"
    )

    assert list(load(folder).evaluation) == ["validation_seen", "validation_unseen"]


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        ({"test": {"text": ["a"], "label": [0]}}, {}, "no split 'train' to learn from, only test"),
        ({"train": {"text": ["a"], "label": [0]}}, {}, "no split to compare on"),
        (
            {"train": {"text": ["a"], "label": [0]}, "test": {"text": ["a"], "label": [0]}},
            {"label_column": "stars"},
            "no column 'stars'; its columns are 'text', 'label'",
        ),
        (
            {"train": {"text": ["a", "b"], "label": [0, 1]}, "test": {"text": ["a", "b"], "label": [0, -1]}},
            {},
            "split test, row 1: the label -1 is none of those to learn",
        ),
        (
            {"train": {"text": ["a", "b"], "label": [0, None]}, "test": {"text": ["a"], "label": [0]}},
            {},
            "split train, row 1: the label is missing",
        ),
        (
            {"train": {"text": ["a", "b"], "label": [0, 1]}, "test": {"text": ["a"], "label": [0]}},
            {"text_column": "label", "label_column": "text"},
            r"found \[0\] where text belongs",
        ),
    ],
)
def test_faults_are_named_in_one_line(splits, options, message, tmp_path):
    folder = write_dataset(tmp_path / "rows", {"text": TEXT, "label": ClassLabel(names=["no", "yes"])}, **splits)

    with pytest.raises(InputError, match=message) as error:
        load(folder, **options)
    assert "\n" not in str(error.value)


def test_without_the_hub_the_error_tells_of_files(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(InputError, match="someone/reviews cannot be loaded without a network.*train_file"):
        load("someone/reviews")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "nothing").mkdir()

    with pytest.raises(InputError, match="nothing cannot be loaded.*train_file"):
        load(tmp_path / "nothing")
