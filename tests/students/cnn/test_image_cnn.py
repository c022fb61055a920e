"""The image CNN: its values, its indifference to the rest of a batch, and how it saves, loads and answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, conv2d, cross_entropy, gelu
from transformers import (
    AutoModelForImageClassification,
    BertConfig,
    BertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    pipeline,
    set_seed,
)

from hf_distill.errors import InputError
from hf_distill.problem_type import ProblemType, infer_problem_type
from hf_distill.students import create_student, reorder_labels
from hf_distill.students.cnn import ImageCnnConfig, ImageCnnForImageClassification, create_image_cnn
from hf_distill.students.layer_stacks import find_layer_stacks


def vit(image_size=28, **config):
    set_seed(0)
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 37}
    names = {"id2label": {0: "cat", 1: "dog", 2: "fox"}, "label2id": {"cat": 0, "dog": 1, "fox": 2}}
    return ViTForImageClassification(ViTConfig(image_size=image_size, patch_size=4, **{**shape, **names, **config}))


def resnet():
    set_seed(0)
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    )


def cnn(**config):
    """With no weight at its first value, so that a norm or a bias that is left out shows."""
    set_seed(1)
    model = ImageCnnForImageClassification(
        ImageCnnConfig(**{"image_size": 12, "stem_stride": 2, "hidden_size": 16, "num_labels": 3, **config})
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def images(count=4, side=12):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def normalised(values, norm):
    """Group normalisation, one image and one group at a time."""
    result = torch.empty_like(values)
    for image in range(len(values)):
        for group in range(4):
            channels = slice(4 * group, 4 * group + 4)
            part = values[image, channels]
            scaled = (part - part.mean()) / (part.var(unbiased=False) + norm.eps).sqrt()
            result[image, channels] = scaled * norm.weight[channels, None, None] + norm.bias[channels, None, None]
    return result


def test_every_layer_and_the_answer():
    model, pixels = cnn(), images()
    with torch.no_grad():
        output = model(pixels, output_hidden_states=True)
        states = output.hidden_states
        first = conv2d(pixels, model.stem.weight, model.stem.bias, stride=2, padding=1)
        torch.testing.assert_close(states[0], gelu(normalised(first, model.norm)), rtol=1e-4, atol=1e-5)
        for place, layer in enumerate(model.layers):
            came_in = states[place]
            if place in (2, 4):
                came_in = avg_pool2d(came_in, 2, ceil_mode=True)
            expected = conv2d(came_in, layer.convolution.weight, layer.convolution.bias, padding=1)
            torch.testing.assert_close(states[place + 1], gelu(normalised(expected, layer.norm)), rtol=1e-4, atol=1e-5)
        pooled = torch.cat([states[-1].mean((2, 3)), states[-1].flatten(2).max(2).values], 1)
        torch.testing.assert_close(output.logits, pooled @ model.classifier.weight.T + model.classifier.bias)
    assert [tuple(state.shape[1:]) for state in states] == [(16, side, side) for side in (6, 6, 6, 3, 3, 2, 2)]


def test_one_position_of_a_convolution():
    """By hand, so that the order of the kernel's weights is not only conv2d's word against conv2d's."""
    model, pixels = cnn(num_hidden_layers=1), images(1)
    with torch.no_grad():
        came_in = model(pixels, output_hidden_states=True).hidden_states[0]
        convolution = model.layers[0].convolution
        expected = convolution.bias[5].clone()
        for channel in range(16):
            for row in range(3):
                for column in range(3):
                    expected += convolution.weight[5, channel, row, column] * came_in[0, channel, 1 + row, 2 + column]
    torch.testing.assert_close(convolution(came_in)[0, 5, 2, 3], expected, rtol=1e-4, atol=1e-5)


def test_the_rest_of_the_batch_changes_nothing():
    model, pixels = cnn().train(), images()
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).logits[:1], model(pixels[:1]).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [5, 12, 33])
def test_images_of_other_sizes_work(side):
    assert cnn()(images(2, side)).logits.shape == (2, 3)


def test_loss_problem_and_labels():
    model, pixels, labels = cnn(), images(2), torch.tensor([2, 0])
    output = model(pixels, labels=labels)
    torch.testing.assert_close(output.loss, cross_entropy(output.logits, labels))
    assert infer_problem_type(cnn(), labels) is ProblemType.SINGLE_LABEL
    with torch.no_grad():
        expected = model(pixels).logits
        assert torch.equal(model(pixels, return_dict=False)[0], expected)
        model.config.id2label, model.config.label2id = {0: "a", 1: "b", 2: "c"}, {"a": 0, "b": 1, "c": 2}
        reorder_labels(model, ["c", "a", "b"])
        torch.testing.assert_close(model(pixels).logits, expected[:, [2, 0, 1]])


def test_its_layers_are_found_and_can_be_taken():
    model = cnn()
    (stack,) = find_layer_stacks(model)
    assert (stack.paths, stack.count_field, stack.total) == (("layers",), ("num_hidden_layers",), 6)
    assert create_student(model, layers=[0, 1, 2, 3]).config.num_hidden_layers == 4
    with pytest.raises(InputError, match="cannot become the student's layer 1"):
        create_student(model, layers=[0, 2])


@pytest.mark.parametrize(("side", "stride"), [(14, 1), (28, 2), (32, 2), (56, 4), (224, 16), ([224, 28], 2)])
def test_the_stem_fits_the_images(side, stride):
    student = create_image_cnn(vit(), image_size=side)
    assert student.config.stem_stride == stride
    height, width = (side, side) if isinstance(side, int) else side
    with torch.no_grad():
        first = student(torch.zeros(1, 3, height, width), output_hidden_states=True).hidden_states[0]
    assert first.shape[2:] == (height // stride, width // stride)


def test_student_of_a_vit_and_of_a_resnet():
    student = create_image_cnn(vit(num_channels=1), hidden_size=8)
    assert (student.config.num_channels, student.config.image_size, student.config.num_hidden_layers) == (1, 28, 6)
    assert student.config.id2label == {0: "cat", 1: "dog", 2: "fox"}
    assert create_image_cnn(resnet(), image_size=28).config.num_labels == 3
    assert not student.training


def test_the_seed_alone_decides():
    teacher = vit()
    state = torch.get_rng_state()
    first, again, other = (create_image_cnn(teacher, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.stem.weight, other.stem.weight)


def test_what_cannot_teach_or_be_made_is_refused():
    texts = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(InputError, match="no model for images"):
        create_image_cnn(BertForSequenceClassification(texts))
    with pytest.raises(InputError, match="does not tell the size"):
        create_image_cnn(resnet())
    for options in ({"num_layers": 0}, {"hidden_size": 10}, {"hidden_size": 0}):
        with pytest.raises(InputError):
            create_image_cnn(vit(), **options)
    for wrong in ({"kernel_size": 2}, {"hidden_size": 10}):
        with pytest.raises(ValueError):
            ImageCnnConfig(**wrong)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image-cnn")
    student = create_image_cnn(vit(), hidden_size=16)
    student.save_pretrained(folder)
    size = {"height": 28, "width": 28}
    ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return folder, student


def test_pipeline_gives_the_saved_model_s_answer(saved):
    folder, student = saved
    loaded = AutoModelForImageClassification.from_pretrained(folder)
    assert isinstance(loaded, ImageCnnForImageClassification)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    inputs = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        assert torch.equal(loaded(inputs).logits, student(inputs).logits)
        chances = student(inputs).logits.softmax(-1)[0].tolist()
    answers = pipeline("image-classification", model=str(folder))(Image.fromarray(pixels))
    expected = dict(zip(["cat", "dog", "fox"], chances, strict=True))
    assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(expected, abs=1e-5)


def test_its_code_is_saved_beside_its_weights(saved):
    folder, _ = saved
    module = Path(sys.modules[ImageCnnConfig.__module__].__file__)
    assert (folder / module.name).read_text() == module.read_text()
    assert json.loads((folder / "config.json").read_text())["auto_map"] == {
        "AutoConfig": f"{module.stem}.ImageCnnConfig",
        "AutoModelForImageClassification": f"{module.stem}.ImageCnnForImageClassification",
    }


@pytest.mark.slow
def test_it_loads_where_hf_distill_is_not_installed(saved, tmp_path):
    folder, student = saved
    code = f"""
import sys
sys.modules["hf_distill"] = None
import torch
from transformers import AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()
with torch.no_grad():
    torch.save(model(torch.ones(1, 3, 28, 28)).logits, {str(tmp_path / "logits.pt")!r})
"""
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits.pt"), student(torch.ones(1, 3, 28, 28)).logits)
