import os
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

import hf_distill.metrics
from hf_distill.metrics import METRIC_NAMES, load_metric

FOLDER = Path(hf_distill.metrics.__file__).parent


def score(name, predictions, references, **options):
    result = load_metric(name).compute(predictions=predictions, references=references, **options)
    assert list(result) == [name]
    assert type(result[name]) is float
    return result[name]


def classes(seed, count, rows=97):
    generator = np.random.default_rng(seed)
    return generator.integers(0, count, rows), generator.integers(0, count, rows)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_classification_metrics_equal_those_of_scikit_learn(seed, count):
    predictions, references = classes(seed, count)

    assert score("accuracy", predictions, references) == sklearn.metrics.accuracy_score(references, predictions)
    assert score("matthews_correlation", predictions, references) == pytest.approx(
        sklearn.metrics.matthews_corrcoef(references, predictions), abs=1e-12
    )
    for average in ["macro", "micro"] + ["binary"] * (count == 2):
        assert score("f1", predictions, references, average=average) == pytest.approx(
            sklearn.metrics.f1_score(references, predictions, average=average), abs=1e-12
        )


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize(
    ("predictions", "references"),
    [
        ([0, 0, 0, 0], [0, 1, 0, 1]),
        ([0, 1, 0, 1], [1, 1, 1, 1]),
        ([0, 0, 0], [0, 0, 0]),
        ([1, 1, 1], [1, 1, 1]),
        ([1, 1, 1], [0, 0, 0]),
        ([1], [1]),
    ],
)
def test_absent_classes_score_as_in_scikit_learn(predictions, references):
    assert score("matthews_correlation", predictions, references) == sklearn.metrics.matthews_corrcoef(
        references, predictions
    )
    for average in ("binary", "macro", "micro"):
        assert score("f1", predictions, references, average=average) == sklearn.metrics.f1_score(
            references, predictions, average=average, zero_division=0
        )


def test_macro_f1_counts_only_the_classes_that_occur():
    predictions, references = [0, 4, 4, 2], [0, 4, 2, 2]

    assert score("f1", predictions, references, average="macro") == pytest.approx(
        sklearn.metrics.f1_score(references, predictions, average="macro")
    )


def test_multi_label_metrics_equal_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    predictions, references = generator.integers(0, 2, (50, 4)), generator.integers(0, 2, (50, 4))
    predictions[:, 3] = references[:, 3] = 0

    assert score("accuracy", predictions, references) == sklearn.metrics.accuracy_score(references, predictions)
    for average in ("macro", "micro"):
        assert score("f1", predictions, references, average=average) == pytest.approx(
            sklearn.metrics.f1_score(references, predictions, average=average, zero_division=0), abs=1e-12
        )


@pytest.mark.parametrize(
    ("predictions", "references", "options"),
    [
        ([0, 1, 2], [0, 1, 2], {}),
        ([[0, 1]], [[0, 1]], {}),
        ([0, 1], [0, 1], {"average": "weighted"}),
    ],
)
def test_f1_refuses_an_average_that_does_not_fit(predictions, references, options):
    with pytest.raises(ValueError, match="macro"):
        score("f1", predictions, references, **options)


@pytest.mark.parametrize("seed", range(4))
def test_correlations_equal_those_of_scipy_with_and_without_ties(seed):
    generator = np.random.default_rng(seed)
    references = generator.normal(size=61)
    predictions = 1000 * references + 500 * generator.normal(size=61)
    for ours, theirs in ((predictions, references), (predictions.round(-3), np.clip(references, -1, 1).round())):
        assert score("pearson", ours, theirs) == pytest.approx(scipy.stats.pearsonr(ours, theirs)[0], abs=1e-12)
        assert score("spearman", ours, theirs) == pytest.approx(scipy.stats.spearmanr(ours, theirs)[0], abs=1e-12)


def test_correlations_keep_the_precision_of_scores_that_differ_little():
    references = np.linspace(0, 1, 20)
    predictions = 1000 + 1e-6 * references

    assert score("pearson", predictions, references) == pytest.approx(scipy.stats.pearsonr(predictions, references)[0])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlation_with_a_constant_is_zero_and_with_nan_is_nan(name):
    assert score(name, [0.1] * 7, np.arange(7.0)) == 0.0
    assert score(name, np.arange(7.0), [0.1] * 7) == 0.0
    assert score(name, [1.0], [2.0]) == 0.0
    assert np.isnan(score(name, [1.0, float("nan"), 2.0], [1.0, 2.0, 3.0]))


def test_matthews_correlation_of_many_rows_does_not_overflow():
    generator = np.random.default_rng(0)
    references = generator.integers(0, 3, 100_000)
    predictions = np.where(generator.random(100_000) < 0.5, references, 0)

    assert score("matthews_correlation", predictions, references) == pytest.approx(
        sklearn.metrics.matthews_corrcoef(references, predictions), abs=1e-12
    )


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_every_module_loads_with_evaluate_from_its_folder(name):
    metric = evaluate.load(str(FOLDER / name), keep_in_memory=True)

    assert metric.compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 1])[name] == score(
        name, [0, 1, 1, 0], [0, 1, 0, 1]
    )


def test_there_is_a_folder_for_each_name_and_no_other():
    assert sorted(folder.name for folder in FOLDER.iterdir() if (folder / f"{folder.name}.py").exists()) == sorted(
        METRIC_NAMES
    )


def test_an_unknown_metric_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="accuracy, f1"):
        load_metric("acuracy")


PROCESS = """
import sys
sys.modules["sklearn"] = sys.modules["scipy"] = None
from hf_distill.metrics import METRIC_NAMES, load_metric
assert "evaluate" not in sys.modules
import evaluate
print("ready", flush=True)
for _ in range(20):
    for name in METRIC_NAMES:
        metric = load_metric(name)
        metric.add_batch(predictions=[0, 1], references=[0, 1])
        metric.add_batch(predictions=[1, 0], references=[1, 0])
        assert abs(metric.compute()[name] - 1) < 1e-12
"""


def test_processes_at_the_same_time_share_no_file_and_need_no_scipy(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path))
    environment = {**os.environ, "HF_METRICS_CACHE": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    while process.poll() is None:
        for name in METRIC_NAMES:
            score(name, [0, 1], [1, 0])
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert [path.name for path in tmp_path.iterdir()]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
