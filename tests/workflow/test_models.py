"""Which model is loaded, exactly, and which are refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from workflow.conftest import VOCABULARY, save_model

from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport
from hf_distill.workflow.data import ReadingNeeds
from hf_distill.workflow.models import Source

COMMITS = {"main": "a" * 40, "v2": "b" * 40}


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A download cache in which the repository me/teacher has two revisions with different weights."""
    repository = tmp_path / "cache" / "models--me--teacher"
    (repository / "refs").mkdir(parents=True)
    for revision, commit in COMMITS.items():
        (repository / "refs" / revision).write_text(commit)
        save_model(repository / "snapshots" / commit, initializer_range=0.02 if revision == "main" else 0.5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return repository


def test_a_revision_is_pinned_to_its_commit(hub_cache, command, run_script, tmp_path):
    assert Source.find("me/teacher").commit == COMMITS["main"]
    assert Source.find("me/teacher", "v2").commit == COMMITS["v2"]
    arguments = command(teacher_name_or_path="me/teacher", teacher_revision="v2", max_steps=1)
    assert run_script("distill_glue.py", arguments) == 0
    report = DistillationReport.load(tmp_path / "out")
    assert (report.teacher_name, report.teacher_revision) == ("me/teacher", COMMITS["v2"])
    assert "base_model: me/teacher" in (tmp_path / "out" / "README.md").read_text()
    embeddings = "bert.embeddings.word_embeddings.weight"
    student = load_file(tmp_path / "out" / "model.safetensors")[embeddings]
    teacher = load_file(hub_cache / "snapshots" / COMMITS["v2"] / "model.safetensors")[embeddings]
    torch.testing.assert_close(student, teacher, atol=1e-4, rtol=0)


def test_a_local_folder_has_no_commit_and_loses_its_path(shelf):
    source = Source.find(f"{shelf}/teacher/")
    assert source.commit is None
    assert source.public_name == "teacher"


def test_a_folder_without_tokenizer_is_refused(command, run_script, shelf, tmp_path, capfd):
    shutil.copytree(shelf / "teacher", tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*", "vocab*"))
    assert run_script("distill_glue.py", command(teacher_name_or_path=tmp_path / "mute")) == 2
    assert "no tokenizer" in capfd.readouterr().err


def test_a_cut_weight_file_is_refused(command, run_script, shelf, tmp_path, capfd):
    shutil.copytree(shelf / "teacher", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert run_script("distill_glue.py", command(teacher_name_or_path=tmp_path / "cut")) == 2
    assert "Could not load the model" in capfd.readouterr().err


def test_a_multi_label_teacher_is_refused_for_exclusive_classes(command, run_script, tmp_path, capfd):
    save_model(tmp_path / "multi", problem_type="multi_label_classification")
    assert run_script("distill_glue.py", command(teacher_name_or_path=tmp_path / "multi")) == 2
    assert "multi_label_classification" in capfd.readouterr().err


def test_a_decoder_without_padding_token_teaches(command, run_script, shelf, tmp_path):
    folder = tmp_path / "gpt2"
    torch.manual_seed(0)
    labels = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    tokens = {"vocab_size": len(VOCABULARY), "bos_token_id": 2, "eos_token_id": 3}
    config = GPT2Config(n_embd=32, n_layer=4, n_head=4, n_positions=64, **tokens, **labels)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    backend = AutoTokenizer.from_pretrained(shelf / "teacher").backend_tokenizer
    names = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]", model_input_names=names).save_pretrained(
        folder
    )
    assert run_script("distill_glue.py", command(teacher_name_or_path=folder, max_steps=1)) == 0
    assert DistillationReport.load(tmp_path / "out").student_layers == {"transformer.h": [0, 2]}


def test_positions_behind_the_padding_index_are_what_a_roberta_reads():
    config = RobertaConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=66
    )
    model = RobertaForSequenceClassification(config)
    assert ReadingNeeds.of(model) == ReadingNeeds(longest=64, token_types=True)
    model(torch.full((1, 64), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, 65), 5))


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"push_to_hub": "true"}, "hub_model_id"),
        ({"push_to_hub": "true", "hub_model_id": "a/b/c"}, "a/b/c"),
        ({"metric_for_best_model": "acuracy", "eval_strategy": "epoch"}, "accuracy"),
        ({"resume_from_checkpoint": "nowhere/checkpoint-3"}, "nowhere"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(changes, mentions, command, run_script, tmp_path, capfd):
    assert run_script("distill_glue.py", command(**changes)) == 2
    assert mentions in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_long_text_does_not_break_the_demonstration(command, run_script, shelf, tmp_path):
    rows = (shelf / "dev.csv").read_text().splitlines()
    (tmp_path / "dev.csv").write_text("\n".join([rows[0], "good " * 90 + ",pos", *rows[1:]]) + "\n")
    assert run_script("distill_glue.py", command(validation_file=tmp_path / "dev.csv", max_steps=1)) == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == 32


def test_unknown_source_names_the_folder():
    with pytest.raises(InputError, match="nowhere"):
        Source.find("nowhere/at-all")
