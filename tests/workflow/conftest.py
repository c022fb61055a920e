"""A tiny teacher with a tokenizer of its own, and reviews made of its words; tiny teachers for images."""

import csv
import random
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hub import conftest as loopback_hub
from PIL import Image
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    set_seed,
)

hub = loopback_hub.hub

SCRIPTS = Path(__file__).parents[2] / "scripts"
GOOD, BAD, OTHER = ["good", "great", "fine"], ["bad", "awful", "poor"], "film plot actor scene the a is was".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *OTHER]


def save_model(folder, cls=BertForSequenceClassification, names=("neg", "pos"), words=VOCABULARY, **config):
    set_seed(0)
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 37,
        "max_position_embeddings": 32,
    }
    cls(BertConfig(vocab_size=len(words), **{**shape, **labels, **config})).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    return folder


def write_reviews(path, count, seed, labels=("neg", "pos"), texts="text", label="label"):
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([texts, label])
        for i in range(count):
            which = i % len(labels)
            words = chance.choices(OTHER, k=chance.randint(2, 8)) + [chance.choice([BAD, GOOD][which % 2])]
            chance.shuffle(words)
            writer.writerow([" ".join(words), labels[which]])
    return path


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """A folder with teachers and rows, made once."""
    folder = tmp_path_factory.mktemp("shelf")
    save_model(folder / "teacher")
    save_model(folder / "reversed-teacher", names=("POS", "NEG"))
    save_model(folder / "topics-teacher", names=("sport", "politics"))
    save_model(folder / "headless", cls=BertModel)
    save_model(folder / "other-words", words=[*VOCABULARY[:5], *reversed(VOCABULARY[5:])])
    write_reviews(folder / "train.csv", 48, seed=1)
    write_reviews(folder / "dev.csv", 20, seed=2)
    write_reviews(folder / "one-class.csv", 10, seed=3, labels=("neg",))
    write_reviews(folder / "one-class-dev.csv", 10, seed=4, labels=("neg",))
    (folder / "empty.csv").write_text("")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 8)
    (folder / "not-a-model").mkdir()
    return folder


@pytest.fixture(autouse=True)
def quick_comparison(monkeypatch):
    """Latency is not what these tests look at."""
    monkeypatch.setattr("hf_distill.workflow.run.TIME_BUDGET", 0.2)


def as_flags(values, changes):
    """The command line of a quick run; of the changes None drops an argument."""
    quick = {
        "per_device_train_batch_size": 16,
        "save_strategy": "no",
        "disable_tqdm": "true",
        "report_to": "none",
        "use_cpu": "true",
    }
    values = {name: value for name, value in {**values, **quick, **changes}.items() if value is not None}
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


@pytest.fixture
def command(shelf, tmp_path):
    """The arguments of a run that works, in a form that a test can change; None drops one."""

    def arguments(**changes):
        values = {
            "teacher_name_or_path": shelf / "teacher",
            "train_file": shelf / "train.csv",
            "validation_file": shelf / "dev.csv",
            "student_layers": 2,
            "output_dir": tmp_path / "out",
            "max_seq_length": 16,
            "num_train_epochs": 1,
        }
        return as_flags(values, changes)

    return arguments


@pytest.fixture
def run_script(monkeypatch):
    """Run a script in this process as ``python scripts/NAME ARGUMENTS`` would; gives its exit code."""

    def run(name, arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / name), *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        except SystemExit as stop:
            return stop.code
        return 0

    return run


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
    teachers["resnet"] = ResNetForImageClassification(ResNetConfig(**{**resnet.to_dict(), **NAMES}))
    teachers["resnet"].save_pretrained(folder / "resnet")
    ViTConfig(**{**vit.to_dict(), "num_attention_heads": 1}).save_pretrained(folder / "one-head")
    ViTConfig(**{**vit.to_dict(), "num_channels": 1}).save_pretrained(folder / "grey")
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    for name in (*teachers, "new-vit", "new-resnet", "one-head", "grey"):
        ViTImageProcessorPil(size={"height": 16, "width": 16}, **mean).save_pretrained(folder / name)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def images_command(gallery, out, monkeypatch, tmp_path):
    """As ``command``, on images; a data set's own cache stays in the test's folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def arguments(**changes):
        values = {
            "teacher_name_or_path": gallery / "teacher",
            "dataset_name": gallery / "images",
            "student_architecture": "cnn",
            "student_hidden_size": 8,
            "output_dir": out,
            "num_train_epochs": 2,
            "learning_rate": 1e-2,
        }
        return as_flags(values, changes)

    return arguments
