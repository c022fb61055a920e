"""scripts/distill_images.py from beginning to end, on tiny teachers and images that tell two classes apart."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, ViTImageProcessorPil, pipeline, set_seed

from hf_distill.cli.main import main
from hf_distill.evaluation import DistillationReport
from hf_distill.hub.push import student_files
from hf_distill.students.cnn import ImageCnnForImageClassification


def test_student_report_card_and_pipeline(images_command, run_script, gallery, out, capsys):
    arguments = images_command(teacher_name_or_path=gallery / "new-resnet", finetune_teacher="true", baseline="true")
    assert run_script("distill_images.py", arguments) == 0
    report, printed = DistillationReport.load(out), capsys.readouterr().out
    student = AutoModelForImageClassification.from_pretrained(out)
    assert isinstance(student, ImageCnnForImageClassification)
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (6, 8)
    assert report.student.parameters == student.num_parameters()
    assert report.data["rows"]["train"] == {"used": 48, "available": 48}
    assert (
        report.baseline is not None
        and report.training["student_start"] == "a convolutional network with random weights"
    )
    assert report.teacher_name == "new-resnet"
    assert report.summary() in printed and 'pipeline("image-classification"' in printed
    files = [path for name in ("dark", "light") for path in (gallery / "images" / "validation" / name).iterdir()]
    classify = pipeline("image-classification", model=str(out))
    right = sum(classify(str(path), top_k=1)[0]["label"] == path.parent.name for path in files)
    assert report.student.metrics["validation"]["accuracy"] == pytest.approx(right / len(files))
    card = (out / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card and 'pipeline("image-classification"' in card
    pushed = {path.name for path in student_files(out)}
    assert {"config.json", "model.safetensors", "modeling_image_cnn.py", "preprocessor_config.json"} <= pushed


def test_teacher_is_trained_from_its_configuration_and_used_again(images_command, run_script, gallery, out, capsys):
    arguments = images_command(teacher_name_or_path=gallery / "new-vit", finetune_teacher="true")
    assert run_script("distill_images.py", arguments) == 0
    first = load_file(out / "teacher" / "model.safetensors")
    assert json.loads((out / "teacher" / "config.json").read_text())["id2label"] == {"0": "dark", "1": "light"}
    capsys.readouterr()
    assert run_script("distill_images.py", [*arguments, "--overwrite_output_dir", "--temperature", "4"]) == 0
    assert "Using the fine-tuned teacher" in capsys.readouterr().err
    again = load_file(out / "teacher" / "model.safetensors")
    assert all(torch.equal(first[name], weight) for name, weight in again.items())


def test_teacher_may_answer_at_every_step_and_gives_the_same_student(images_command, run_script, out, tmp_path):
    assert run_script("distill_images.py", images_command()) == 0
    live = images_command(teacher_cache_dir="false", output_dir=tmp_path / "live")
    assert run_script("distill_images.py", live) == 0
    assert (out / "teacher_cache").is_dir() and not (tmp_path / "live" / "teacher_cache").exists()
    cached, at_every_step = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "live"))
    for name, weight in cached.items():
        torch.testing.assert_close(weight, at_every_step[name], rtol=1e-4, atol=1e-5)


def test_student_numbers_its_classes_as_the_task_does(images_command, run_script, gallery, out):
    assert run_script("distill_images.py", images_command(teacher_name_or_path=gallery / "reversed")) == 0
    assert AutoModelForImageClassification.from_pretrained(out).config.id2label == {0: "dark", 1: "light"}


@pytest.mark.parametrize(
    ("changes", "is_cached"),
    [
        ({"num_train_epochs": 2}, True),
        ({"num_train_epochs": 1}, False),
        ({"num_train_epochs": 2, "contrast_weight": 1}, False),
    ],
)
def test_answers_are_kept_where_several_epochs_would_ask_for_them(images_command, run_script, out, changes, is_cached):
    """48 images in batches of 16 are 3 steps an epoch."""
    assert run_script("distill_images.py", images_command(**changes)) == 0
    assert (out / "teacher_cache").is_dir() == is_cached
    answers = DistillationReport.load(out).training["teacher_answers"]
    assert answers == ("before training" if is_cached else "at every step")


def mean_of_last_state(model, pixels):
    with torch.no_grad():
        state = model.eval()(pixels, output_hidden_states=True).hidden_states[-1]
    return state.flatten(2).mean(2) if state.dim() == 4 else state.mean(1)


def similarities(vectors):
    rows = [[float(one @ other) for other in vectors] for one in vectors]
    return [[value / sum(entry**2 for entry in row) ** 0.5 for value in row] for row in rows]


@pytest.mark.parametrize(
    ("teacher", "mapping", "cache"),
    [("teacher", "last", "true"), ("resnet", "[[6, 2]]", "true"), ("resnet", "[[6, 2]]", "false")],
)
def test_contrast_with_a_cnn_is_of_the_mean_over_its_map(
    images_command, run_script, gallery, out, teacher, mapping, cache
):
    arguments = images_command(
        teacher_name_or_path=gallery / teacher,
        teacher_cache_dir=cache,
        contrast_weight=1,
        contrast_loss="similarity",
        contrast_mapping=mapping,
        per_device_train_batch_size=48,
        max_steps=1,
        learning_rate=0,
        logging_steps=1,
    )
    assert run_script("distill_images.py", arguments) == 0
    images = [Image.open(path).convert("RGB") for path in sorted((gallery / "images" / "train").glob("*/*.png"))]
    pixels = ViTImageProcessorPil.from_pretrained(out)(images, return_tensors="pt")["pixel_values"]
    models = (AutoModelForImageClassification.from_pretrained(folder) for folder in (out, gallery / teacher))
    student, taught = (similarities(mean_of_last_state(model, pixels)) for model in models)
    pairs = [(i, j) for i in range(48) for j in range(48)]
    expected = sum((student[i][j] - taught[i][j]) ** 2 for i, j in pairs) / 48**2
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert next(entry["contrast_loss"] for entry in history if "contrast_loss" in entry) == pytest.approx(
        expected, rel=1e-3
    )


def test_teacher_of_another_shape_but_equal_weights_is_trained_anew(images_command, run_script, gallery, out, capsys):
    arguments = images_command(teacher_name_or_path=gallery / "new-vit", finetune_teacher="true", max_steps=1)
    assert run_script("distill_images.py", arguments) == 0
    arguments = images_command(teacher_name_or_path=gallery / "one-head", finetune_teacher="true", max_steps=1)
    assert run_script("distill_images.py", [*arguments, "--overwrite_output_dir"]) == 0
    assert "Using the fine-tuned teacher" not in capsys.readouterr().err
    assert json.loads((out / "teacher" / "config.json").read_text())["num_attention_heads"] == 1


def test_check_knows_a_folder_of_images(images_command, out, capsys):
    main(["check", *images_command()])
    printed = capsys.readouterr().out
    assert "ImageCnnForImageClassification" in printed and "ViTForImageClassification" in printed
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_name_or_path": "new-vit"}, "configuration without weights"),
        ({"teacher_name_or_path": "grey", "finetune_teacher": "true"}, "images of 1 channels"),
        ({"dataset_name": None, "task_name": "sst2"}, "no task 'sst2' on images"),
        ({"hidden_state_weight": 1}, "no tokens to compare one by one"),
        ({"attention_weight": 1}, "no tokens to compare one by one"),
        ({"relation_weight": 1}, "no tokens to compare one by one"),
        ({"contrast_weight": 1, "contrast_pooling": "first"}, "have no first token"),
        ({"contrast_weight": 1, "teacher_name_or_path": "resnet"}, "does not say how many layers"),
        ({"student_layers": "0,1"}, "says nothing of a convolutional network"),
        ({"student_architecture": "distil", "student_hidden_size": None}, "only the families bert"),
        ({"student_architecture": None, "student_num_attention_heads": 2}, "hidden_size=8 with num_attention_heads=2"),
        ({"student_architecture": None, "student_hidden_size": 8, "teacher_name_or_path": "resnet"}, "made narrower"),
        ({"metric_for_best_model": "bleu", "eval_strategy": "epoch"}, "metric_for_best_model is 'bleu'"),
        ({"text_column": "text"}, "images from dataset_name do not use it"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    images_command, run_script, gallery, out, capsys, changes, message
):
    set_seed(0)
    if "teacher_name_or_path" in changes:
        changes = {**changes, "teacher_name_or_path": gallery / changes["teacher_name_or_path"]}
    assert run_script("distill_images.py", images_command(**changes)) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
