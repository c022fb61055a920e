"""A wheel built from the tree holds all that the package needs, and works outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import hf_distill
from hf_distill.metrics import METRIC_NAMES, load_metric
from hf_distill.workflow.distillation_run import DistillationRun
from transformers import BertConfig, BertForSequenceClassification
config = BertConfig(hidden_size=32, num_hidden_layers=4, num_attention_heads=4, vocab_size=9)
teacher = BertForSequenceClassification(config)
assert hf_distill.create_student(teacher).config.num_hidden_layers == 2
for name in METRIC_NAMES:
    print(name, load_metric(name).compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 0]))
print(hf_distill.__file__, hf_distill.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_wheel_holds_every_module(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hf_distill").rglob("*.py")}
    assert modules | {"hf_distill/py.typed"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "scripts/", "configs/")) for name in names)


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # -I leaves out the current folder and PYTHONPATH, so the wheel is put first by hand.
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"
    finished = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert str(site) in finished.stdout
    assert "accuracy {'accuracy': 0.75}" in finished.stdout
