"""What the README shows is run, exactly as shown."""

import re
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification
from workflow.conftest import save_model, write_reviews

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_python_example(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 13
    save_model(tmp_path / "my-teacher", num_hidden_layers=6)
    write_reviews(tmp_path / "reviews.csv", 24, seed=1, labels=(0, 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    exec(compile(example, "README.md", "exec"), {})
    student = AutoModelForSequenceClassification.from_pretrained("my-student")
    assert student.config.num_hidden_layers == 3
    assert student.config.distilled_from_layers == {"bert.encoder.layer": [0, 2, 4]}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:configs|scripts|docs)/[\w./-]+\.\w+", README))))
def test_files_that_it_names_exist(path):
    assert (ROOT / path).is_file()


def test_arguments_that_it_names_exist():
    table = README[README.index("| to say | write |") : README.index("A run leaves the student")]
    named = set(re.findall(r"`(?:--)?([a-z]+_[a-z_]+)(?:: [^`]*)?`", table))
    known = set()
    for kind in (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments):
        known |= set(kind.__dataclass_fields__)
    assert len(named) > 15
    assert named <= known
