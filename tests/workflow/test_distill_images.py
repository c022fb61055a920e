"""scripts/distill_images.py from beginning to end, on tiny teachers and images that tell two classes apart."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    pipeline,
    set_seed,
)

from hf_distill.evaluation import DistillationReport
from hf_distill.hub.push import student_files
from hf_distill.students.cnn import ImageCnnForImageClassification

NAMES = {"id2label": {0: "dark", 1: "light"}, "label2id": {"dark": 0, "light": 1}}
REVERSED = {"id2label": {0: "light", 1: "dark"}, "label2id": {"light": 0, "dark": 1}}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def write_images(folder, count, seed):
    chance = np.random.default_rng(seed)
    for name, brightness in (("dark", 60), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = (brightness + chance.integers(-40, 40, (16, 16))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """A folder with teachers and images, made once."""
    folder = tmp_path_factory.mktemp("gallery")
    write_images(folder / "images" / "train", 24, seed=1)
    write_images(folder / "images" / "validation", 8, seed=2)
    vit = ViTConfig(image_size=16, patch_size=4, **VIT)
    teachers = {
        "teacher": ViTForImageClassification(ViTConfig(**{**vit.to_dict(), **NAMES})),
        "reversed": ViTForImageClassification(ViTConfig(**{**vit.to_dict(), **REVERSED})),
    }
    for name, model in teachers.items():
        model.save_pretrained(folder / name)
    vit.save_pretrained(folder / "new-vit")
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    resnet.save_pretrained(folder / "new-resnet")
    ViTConfig(**{**vit.to_dict(), "num_channels": 1}).save_pretrained(folder / "grey")
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    for name in (*teachers, "new-vit", "new-resnet", "grey"):
        ViTImageProcessorPil(size={"height": 16, "width": 16}, **mean).save_pretrained(folder / name)
    return folder


@pytest.fixture(autouse=True)
def quick_comparison(monkeypatch, tmp_path):
    """Latency is not what these tests look at; and a data set's own cache stays in the test's folder."""
    monkeypatch.setattr("hf_distill.workflow.image_distillation_run.TIME_BUDGET", 0.2)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def images_command(gallery, out):
    def arguments(**changes):
        values = {
            "teacher_name_or_path": gallery / "teacher",
            "dataset_name": gallery / "images",
            "student_architecture": "cnn",
            "student_hidden_size": 8,
            "output_dir": out,
            "num_train_epochs": 2,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 16,
            "save_strategy": "no",
            "disable_tqdm": "true",
            "report_to": "none",
            "use_cpu": "true",
        }
        values = {name: value for name, value in {**values, **changes}.items() if value is not None}
        return [part for name, value in values.items() for part in (f"--{name}", str(value))]

    return arguments


def test_student_report_card_and_pipeline(images_command, run_script, gallery, out, capsys):
    arguments = images_command(teacher_name_or_path=gallery / "new-resnet", finetune_teacher="true", baseline="true")
    assert run_script("distill_images.py", arguments) == 0
    report, printed = DistillationReport.load(out), capsys.readouterr().out
    student = AutoModelForImageClassification.from_pretrained(out)
    assert isinstance(student, ImageCnnForImageClassification)
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (6, 8)
    assert report.student.parameters == student.num_parameters()
    assert report.data["rows"]["train"] == {"used": 48, "available": 48}
    assert report.baseline is not None and report.training["student_architecture"] == "cnn"
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


def test_student_of_the_teacher_s_layers(images_command, run_script, out):
    arguments = images_command(student_architecture=None, student_hidden_size=None, student_layers=1, max_steps=1)
    assert run_script("distill_images.py", arguments) == 0
    student = AutoModelForImageClassification.from_pretrained(out)
    assert isinstance(student, ViTForImageClassification) and student.config.num_hidden_layers == 1
    assert DistillationReport.load(out).student_layers is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_name_or_path": "new-vit"}, "configuration without weights"),
        ({"teacher_name_or_path": "grey", "finetune_teacher": "true"}, "images of 1 channels"),
        ({"dataset_name": None, "task_name": "sst2"}, "no task 'sst2' on images"),
        ({"hidden_state_weight": 1}, "which compare with no layer"),
        ({"student_layers": "0,1"}, "says nothing of a convolutional network"),
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
