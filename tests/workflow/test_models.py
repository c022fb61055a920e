"""Which model is loaded, exactly, and which are refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from workflow.conftest import GOOD, VOCABULARY, save_model

from hf_distill.errors import InputError
from hf_distill.evaluation import DistillationReport
from hf_distill.students import create_student
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


def load(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder)


def report_of(run_script, arguments, folder):
    assert run_script("distill_glue.py", arguments) == 0
    return DistillationReport.load(folder)


def words_of(model):
    return model.get_input_embeddings().weight.detach()


def test_a_student_of_the_distilled_class(command, run_script, shelf, tmp_path):
    report = report_of(run_script, command(student_architecture="distil", max_steps=1), tmp_path / "out")
    assert report.student_layers == {"distilbert.transformer.layer": [0, 2]}
    assert type(load(tmp_path / "out")) is DistilBertForSequenceClassification
    close = words_of(load(tmp_path / "out")) - words_of(load(shelf / "teacher"))
    assert close.abs().max() < 1e-3


def test_a_narrower_student_is_calibrated_on_rows_with_the_teachers_numbers(
    command, run_script, shelf, tmp_path, monkeypatch
):
    seen = []

    def spy(*arguments, calibration, **settings):
        seen.append(calibration)
        return create_student(*arguments, calibration=calibration, **settings)

    monkeypatch.setattr("hf_distill.workflow.student_start.create_student", spy)
    widths = {"student_hidden_size": 16, "student_intermediate_size": 20, "max_steps": 1}
    report = report_of(
        run_script, command(teacher_name_or_path=shelf / "reversed-teacher", **widths), tmp_path / "out"
    )
    config = load(tmp_path / "out").config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (16, 2, 20)
    assert report.student_layers == {"bert.encoder.layer": [0, 2]}
    tokenizer = AutoTokenizer.from_pretrained(shelf / "teacher")
    batch = seen[0]
    assert len(batch["input_ids"]) == 48
    for ids, label in zip(batch["input_ids"], batch["labels"], strict=True):
        is_good = any(word in GOOD for word in tokenizer.convert_ids_to_tokens(ids))
        assert label == (0 if is_good else 1), "the reversed teacher's 0 is POS"


def test_a_configuration_alone_takes_the_embeddings(command, run_script, shelf, tmp_path):
    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=11
    )
    config.save_pretrained(tmp_path / "shape")
    arguments = {"student_layers": None, "student_config_name_or_path": tmp_path / "shape", "max_steps": 1}
    report = report_of(run_script, command(**arguments), tmp_path / "out")
    student, teacher = load(tmp_path / "out"), load(shelf / "teacher")
    assert student.config.num_hidden_layers == 1 and student.config.id2label == {0: "neg", 1: "pos"}
    torch.testing.assert_close(words_of(student)[: len(VOCABULARY)], words_of(teacher), atol=1e-3, rtol=0)
    assert report.student_layers is None
    assert report.training["student_start"].startswith("the teacher's token embeddings in the shape of")
    arguments |= {"student_init": "random", "output_dir": tmp_path / "random"}
    report_of(run_script, command(**arguments), tmp_path / "random")
    assert (words_of(load(tmp_path / "random"))[: len(VOCABULARY)] - words_of(teacher)).abs().max() > 0.01


def test_a_configuration_with_too_few_tokens_is_refused(command, run_script, tmp_path, capfd):
    BertConfig(vocab_size=7, hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    arguments = {"student_layers": None, "student_config_name_or_path": tmp_path, "output_dir": tmp_path / "out"}
    assert run_script("distill_glue.py", command(**arguments)) == 2
    assert "has vocab_size 7; set it to 19 or more" in capfd.readouterr().err


def test_random_weights_in_the_shape_of_the_teachers_layers(command, run_script, shelf, tmp_path):
    report = report_of(run_script, command(student_init="random", max_steps=1), tmp_path / "out")
    student, teacher = load(tmp_path / "out"), load(shelf / "teacher")
    assert student.config.num_hidden_layers == 2 and student.config.id2label == teacher.config.id2label
    assert report.student_layers is None and not hasattr(student.config, "distilled_from_layers")
    old = dict(teacher.named_parameters())
    differing = [name for name, values in student.named_parameters() if (values - old[name]).abs().max() > 0.01]
    assert {name for name in old if name.endswith("dense.weight") and ".layer.0." in name} <= set(differing)


def test_unknown_source_names_the_folder():
    with pytest.raises(InputError, match="nowhere"):
        Source.find("nowhere/at-all")
