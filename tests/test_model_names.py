import sys

import pytest

from hf_distill.errors import InputError
from hf_distill.model_names import resolve_model_name


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that cannot be imported, with one model inside."""
    (tmp_path / "some_models" / "small").mkdir(parents=True)
    (tmp_path / "some_models" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "some_models" / "small" / "config.json").write_text("{}")
    (tmp_path / "some_models" / "docs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "some_models"


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "./folder", "/models/package:x", "packages/model"])
def test_other_names_are_left_alone(name):
    assert resolve_model_name(name) == name


def test_a_folder_in_a_package_is_found_without_importing_it(package):
    assert resolve_model_name("package:some_models/small") == str(package / "small")
    assert "some_models" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:no_such_package/model", "pip install --no-deps no_such_package"),
        ("package:", "not installed"),
        ("package:some_models.small", "not installed"),
        ("package:some_models/large", "'large' of the Python package 'some_models', which is not there"),
        ("package:some_models/docs", "has no config.json"),
        ("package:some_models", "has no config.json"),
        ("package:math/model", "is not there"),
    ],
)
def test_what_cannot_be_found_is_explained(package, name, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve_model_name(name)
    assert "\n" not in str(caught.value)
    assert "some_models" not in sys.modules
