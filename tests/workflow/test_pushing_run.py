"""A whole run with push_to_hub, against the real client and a Hub on loopback."""

import json

import pytest
from huggingface_hub import ModelCard

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz01234567"


@pytest.fixture
def arguments(command):
    return command(
        max_steps=1, push_to_hub="true", hub_model_id="owner/student", hub_token=TOKEN, save_strategy="steps"
    )


def test_student_tokenizer_card_and_report_are_pushed_once(hub, arguments, run_script, tmp_path, capsys):
    assert run_script("distill_glue.py", arguments) == 0
    assert len(hub.commits) == 1
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "distillation_report.json"} <= set(
        hub.files
    )
    assert not [name for name in hub.files if "/" in name or name.endswith((".bin", ".pt", ".pth"))]
    assert hub.files["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()
    published = b"".join(hub.files.values())
    assert TOKEN.encode() not in published and str(tmp_path).encode() not in published
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.library_name == "transformers" and "distillation" in card.data.tags
    assert json.loads(hub.files["distillation_report.json"])["student_layers"] == {"bert.encoder.layer": [0, 2]}
    assert "Pushed to" in capsys.readouterr().out


def test_refused_push_leaves_the_student_and_says_how_to_push_again(hub, arguments, run_script, tmp_path, capfd):
    hub.fail("commit", 401)
    assert run_script("distill_glue.py", arguments) == 1
    message = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("error: "))
    assert "push_student(" in message and TOKEN not in message
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not hub.commits


def test_no_token_on_disk(hub, arguments, run_script, tmp_path):
    assert run_script("distill_glue.py", arguments) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.parent.name.startswith("checkpoint-") for path in files)
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
