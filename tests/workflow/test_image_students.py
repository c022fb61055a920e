"""What a student for images may start from."""

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    set_seed,
)
from workflow.conftest import VIT

from hf_distill.arguments import DataArguments
from hf_distill.evaluation import DistillationReport
from hf_distill.students import create_student
from hf_distill.tasks.images import load_image_task


def test_student_of_the_teacher_s_layers(images_command, run_script, out):
    arguments = images_command(student_architecture=None, student_hidden_size=None, student_layers=1, max_steps=1)
    assert run_script("distill_images.py", arguments) == 0
    student = AutoModelForImageClassification.from_pretrained(out)
    assert isinstance(student, ViTForImageClassification) and student.config.num_hidden_layers == 1
    assert DistillationReport.load(out).student_layers is not None


@pytest.fixture
def starting_student(images_command, run_script, out):
    """The weights of a student after a step so small that it is still what it started as, and how it is described."""

    def start(**changes):
        changes = {"student_architecture": None, "student_hidden_size": None, **changes}
        arguments = images_command(max_steps=1, learning_rate=1e-9, seed=7, **changes)
        assert run_script("distill_images.py", arguments) == 0
        student = AutoModelForImageClassification.from_pretrained(out)
        return student.state_dict(), DistillationReport.load(out).training["student_start"]

    return start


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-6)


def vit_from_seed_7(**changes):
    set_seed(7)
    return ViTForImageClassification(ViTConfig(image_size=16, patch_size=4, **{**VIT, **changes})).state_dict()


def test_student_of_a_configuration_alone(starting_student, gallery):
    found, described = starting_student(student_config_name_or_path=gallery / "new-vit")
    assert_same_weights(found, vit_from_seed_7())
    assert described == "random weights in the shape of new-vit"


def test_student_drawn_anew_in_the_shape_of_the_teacher_s_layers(starting_student):
    found, described = starting_student(student_layers=1, student_init="random", student_hidden_size=8)
    assert_same_weights(found, vit_from_seed_7(num_hidden_layers=1, hidden_size=8, num_attention_heads=1))
    assert described == "random weights in the teacher's layers"


def test_student_of_the_teacher_before_its_training(starting_student, gallery, out):
    found, described = starting_student(
        student_layers=1,
        student_init="pretrained",
        finetune_teacher="true",
        teacher_learning_rate=1e-2,
        teacher_num_train_epochs=1,
    )
    published, trained = (
        ViTForImageClassification.from_pretrained(folder).state_dict()
        for folder in (gallery / "teacher", out / "teacher")
    )
    assert_same_weights(found, {name: published[name] for name in found})
    assert max((trained[name] - found[name]).abs().max() for name in found) > 1e-3
    assert described == "the teacher's layers before its fine-tuning"


def test_narrower_student_keeps_what_matters_to_the_images(starting_student, gallery):
    widths = {"hidden_size": 8, "intermediate_size": 4}
    found, _ = starting_student(student_layers=1, **{f"student_{name}": width for name, width in widths.items()})
    rows = load_image_task(DataArguments(dataset_name=str(gallery / "images"))).train.shuffle(seed=7)
    pixels = ViTImageProcessorPil.from_pretrained(gallery / "teacher")(
        [image.convert("RGB") for image in rows["image"]], return_tensors="pt"
    )
    calibration = {"pixel_values": pixels["pixel_values"], "labels": torch.tensor(rows["label"][:])}
    teacher = ViTForImageClassification.from_pretrained(gallery / "teacher")
    expected = create_student(teacher, 1, **widths, calibration=calibration)
    assert_same_weights(found, expected.state_dict())
