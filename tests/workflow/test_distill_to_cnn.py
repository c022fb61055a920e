"""scripts/distill_glue.py with a convolutional student."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from hf_distill.arguments import ModelArguments
from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport
from hf_distill.hub.push import student_files
from hf_distill.students.cnn import TextCnnForSequenceClassification, create_text_cnn


def test_student_report_and_pipeline(command, run_script, shelf, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = command(student_architecture="cnn", student_layers=4, student_hidden_size=16, baseline="true")
    assert run_script("distill_glue.py", arguments) == 0
    student, report = AutoModelForSequenceClassification.from_pretrained(out), DistillationReport.load(out)
    assert isinstance(student, TextCnnForSequenceClassification)
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (4, 16)
    assert report.student.parameters == student.num_parameters() == report.baseline.parameters
    assert report.training["student_start"] == "the teacher's token embeddings under a convolutional network"
    classify = pipeline("text-classification", model=str(out))
    lines = (shelf / "dev.csv").read_text().splitlines()[1:]
    texts, labels = zip(*(line.rsplit(",", 1) for line in lines), strict=True)
    right = sum(answer["label"] == label for answer, label in zip(classify(list(texts)), labels, strict=True))
    assert report.student.metrics["validation"]["accuracy"] == pytest.approx(right / len(labels))
    assert report.summary() in capsys.readouterr().out
    assert "modeling_text_cnn.py" in {path.name for path in student_files(out)}


def test_it_starts_from_the_teacher_and_the_seed(command, run_script, shelf, tmp_path):
    arguments = command(student_architecture="cnn", student_layers=None, max_steps=1, learning_rate=1e-9, seed=7)
    assert run_script("distill_glue.py", arguments) == 0
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    teacher = AutoModelForSequenceClassification.from_pretrained(shelf / "teacher")
    expected = create_text_cnn(teacher, seed=7)
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, rtol=0, atol=1e-7)


def test_student_numbers_its_classes_as_the_task_does(command, run_script, shelf, tmp_path):
    arguments = command(
        teacher_name_or_path=shelf / "reversed-teacher", student_architecture="cnn", num_train_epochs=1
    )
    assert run_script("distill_glue.py", arguments) == 0
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert found.config.id2label == {0: "neg", 1: "pos"}


@pytest.mark.parametrize(
    "unfit",
    [
        {"student_layers": "0,2"},
        {"layer_selection": "first"},
        {"student_num_attention_heads": 2},
        {"student_intermediate_size": 8},
        {"student_init": "random"},
    ],
    ids=lambda unfit: next(iter(unfit)),
)
def test_what_a_cnn_does_not_have_is_refused(unfit):
    with pytest.raises(InputError, match=next(iter(unfit))):
        ModelArguments("teacher", student_architecture="cnn", **unfit)
