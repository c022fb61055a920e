import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from datasets import Dataset
from transformers import EvalPrediction

from hf_distill.tasks import Task, compute_metrics, predicted_labels


def task(problem_type, names, metrics):
    empty = Dataset.from_dict({})
    return Task("made_up", empty, {}, names, problem_type, metrics, metrics[0], {})


def scored(made, logits, labels):
    values = compute_metrics(made)(EvalPrediction(predictions=logits, label_ids=labels))
    assert all(type(value) is float for value in values.values())
    assert list(values) == list(made.metrics)
    return values


@pytest.mark.parametrize("classes", [2, 4])
def test_classification_takes_the_highest_score(classes):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(60, classes)), generator.integers(0, classes, 60)
    made = task("single_label_classification", [str(i) for i in range(classes)], ("accuracy", "f1"))

    values = scored(made, logits.astype(np.float32), labels)

    predictions = [max(range(classes), key=lambda i: row[i]) for row in logits]
    average = "binary" if classes == 2 else "macro"
    assert values["accuracy"] == sklearn.metrics.accuracy_score(labels, predictions)
    assert values["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predictions, average=average))


@pytest.mark.parametrize("shape", [(40, 1), (40,)])
def test_regression_takes_the_score_itself(shape):
    generator = np.random.default_rng(1)
    scores, labels = generator.normal(size=40), generator.normal(size=40)
    made = task("regression", None, ("pearson", "spearman"))

    values = scored(made, scores.reshape(shape), labels.astype(np.float32))

    assert values["pearson"] == pytest.approx(scipy.stats.pearsonr(scores, labels)[0], abs=1e-6)
    assert values["spearman"] == pytest.approx(scipy.stats.spearmanr(scores, labels)[0])


def test_several_labels_take_a_probability_above_one_half():
    generator = np.random.default_rng(2)
    logits, labels = generator.normal(size=(50, 3)), generator.integers(0, 2, (50, 3))
    made = task("multi_label_classification", ["a", "b", "c"], ("f1", "accuracy"))

    values = scored(made, logits, labels.astype(np.float32))

    predictions = (1 / (1 + np.exp(-logits)) > 0.5).astype(int)
    assert values["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predictions, average="micro"))
    assert values["accuracy"] == sklearn.metrics.accuracy_score(labels, predictions)


def test_the_logits_come_first_among_several_outputs():
    logits, labels = np.eye(3), np.arange(3)
    made = task("single_label_classification", ["a", "b", "c"], ("accuracy",))

    assert scored(made, (logits, np.zeros((3, 7))), labels) == {"accuracy": 1.0}


def test_predicted_labels_keep_one_row_each():
    assert predicted_labels(np.array([[2.0]]), "regression").tolist() == [2.0]
    assert predicted_labels(np.array([[0.1, 0.2]]), "single_label_classification").tolist() == [1]
    assert predicted_labels(np.array([[0.0, 0.2]]), "multi_label_classification").tolist() == [[0, 1]]
