import copy

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score
from transformers import BertConfig, BertForMaskedLM

from hf_distill.evaluation import compare, predict_logits
from hf_distill.evaluation.agreement import agreement
from hf_distill.evaluation.retention import retention
from hf_distill.evaluation.size import weights_megabytes
from hf_distill.tasks import Task


def make_task(rows, problem_type="single_label_classification"):
    names = None if problem_type == "regression" else ["a", "b", "c"]
    return Task("tiny", rows, {"dev": rows}, names, problem_type, ("accuracy", "f1"), "accuracy", {})


def metrics(prediction):
    predicted = prediction.predictions.argmax(axis=-1)
    return {
        "accuracy": accuracy_score(prediction.label_ids, predicted),
        "f1": f1_score(prediction.label_ids, predicted, average="macro"),
    }


def test_figures_of_all_three_models_on_both_splits(make_model, make_rows, collator):
    splits = {"matched": make_rows(30), "mismatched": make_rows(20, seed=1)}
    layers = {"teacher": 4, "student": 2, "baseline": 2}
    models = {name: make_model(seed, count, num_labels=3) for seed, (name, count) in enumerate(layers.items())}
    comparison = compare(
        make_task(splits["matched"]),
        models["teacher"],
        models["student"],
        splits,
        collator,
        metrics,
        baseline=models["baseline"],
        time_budget=0.1,
    )
    for name, model in models.items():
        figures = getattr(comparison, name)
        assert figures.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert figures.latency_ms_median > 0 and figures.throughput > 0
        for split, rows in splits.items():
            predicted = predict_logits(model, rows, collator, batch_size=1).argmax(axis=1)
            assert figures.metrics[split]["accuracy"] == pytest.approx(np.mean(predicted == rows["labels"]))
    for split in splits:
        teacher, student = (comparison.teacher.metrics[split]["f1"], comparison.student.metrics[split]["f1"])
        assert comparison.retention[split]["f1"] == pytest.approx(student / teacher)
        classes = [predict_logits(models[name], splits[split], collator).argmax(axis=1) for name in models]
        assert comparison.agreement[split] == pytest.approx(np.mean(classes[0] == classes[1]))


def test_the_teachers_columns_are_brought_to_the_students_order(make_model, make_rows, collator):
    student, rows = make_model(num_labels=3), make_rows(30)
    teacher = copy.deepcopy(student)
    students_class_of_teachers_row = [2, 0, 1]
    with torch.no_grad():
        for parameter, source in zip(teacher.classifier.parameters(), student.classifier.parameters(), strict=True):
            parameter.copy_(source[students_class_of_teachers_row])
    columns = [students_class_of_teachers_row.index(student_class) for student_class in range(3)]
    evaluation = {"dev": rows}
    arguments = (make_task(rows), teacher, student, evaluation, collator, metrics)
    aligned = compare(*arguments, teacher_columns=columns, time_budget=0)
    assert aligned.agreement == {"dev": 1.0}
    assert aligned.teacher.metrics == aligned.student.metrics
    assert compare(*arguments, time_budget=0).agreement["dev"] < 0.5
    assert aligned.baseline is None


def test_regression_agrees_by_pearsons_r(make_model, make_rows, collator):
    teacher, student, rows = make_model(0, num_labels=1), make_model(1, num_labels=1), make_rows(30)
    comparison = compare(
        make_task(rows, "regression"), teacher, student, {"dev": rows}, collator, lambda _: {}, time_budget=0
    )
    scores = [predict_logits(model, rows, collator).ravel() for model in (student, teacher)]
    assert comparison.agreement["dev"] == pytest.approx(pearsonr(*scores).statistic, abs=1e-6)


def test_agreement_of_constant_scores_is_undefined():
    assert agreement(np.ones((4, 1)), np.arange(4.0)[:, None], "regression") is None


def test_agreement_with_several_labels_counts_each_decision():
    student = np.array([[1.0, -1.0], [2.0, 3.0]])
    teacher = np.array([[0.5, 1.0], [-2.0, 1.0]])
    assert agreement(student, teacher, "multi_label_classification") == 0.5


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(0.9, 0.8, 1.125), (0.4, 0.8, 0.5), (-0.2, 0.8, -0.25), (0.5, 0.0, None), (0.5, -0.1, None), (None, 0.5, None)],
)
def test_retention_is_a_ratio_where_it_means_something(student, teacher, expected):
    result = retention({"dev": {"metric": student}}, {"dev": {"metric": teacher}})["dev"]["metric"]
    assert result == (expected if expected is None else pytest.approx(expected))


def test_size_is_that_of_the_saved_tensors(make_model, tmp_path):
    tied = BertForMaskedLM(BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4))
    for index, model in enumerate([make_model(), tied, make_model().to(torch.bfloat16)]):
        model.save_pretrained(tmp_path / str(index))
        content = (tmp_path / str(index) / "model.safetensors").read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        assert weights_megabytes(model) * 1e6 == pytest.approx(len(content) - header)
