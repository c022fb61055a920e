import dataclasses
import re

import pytest
import yaml
from figures import make_figures
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from hf_distill.evaluation import DistillationReport
from hf_distill.hub import build_model_card


@pytest.fixture
def report():
    return DistillationReport(
        task="mrpc",
        primary_metric="f1",
        teacher_name="owner/teacher",
        teacher_revision="0123abcd",
        student_layers={"bert.encoder.layer": [0, 2, 4]},
        data={"dataset": "nyu-mll/glue", "config": "mrpc", "rows": {"train": 3668, "validation": 408}},
        objective={"temperature": 4.0, "soft_target_weight": 0.7, "hard_target_weight": 0.3},
        training={"learning_rate": 5e-5, "num_train_epochs": 3.0, "seed": 42, "finetune_teacher": True},
        environment={"hf_distill": "0.1.0", "torch": "2.13.0", "device": "A processor", "threads": 2},
        teacher=make_figures(parameters=22_000_000, accuracy=0.8, f1=0.9, pearson=None),
        student=make_figures(0.5, 22_000_000, accuracy=0.76, f1=0.855, pearson=None),
        baseline=make_figures(0.5, 22_000_000, accuracy=0.7, f1=0.8, pearson=None),
        retention={"validation": {"accuracy": 0.95, "f1": 0.95, "pearson": None}},
        agreement={"validation": 0.91},
    )


def saved_and_loaded(card, folder):
    card.save(folder / "README.md")
    return ModelCard.load(folder / "README.md")


def test_metadata_survive_saving_and_loading(report, tmp_path):
    card = build_model_card(report, model_id="owner/student", language="en", license="apache-2.0")
    data = saved_and_loaded(card, tmp_path).data
    assert data.to_dict() == card.data.to_dict()
    assert data.base_model == "owner/teacher" and data.base_model_relation == "finetune"
    assert data.pipeline_tag == "text-classification" and data.library_name == "transformers"
    assert data.tags == ["distillation", "hf_distill", "generated_from_trainer"]
    assert data.datasets == ["nyu-mll/glue"]
    assert data.metrics == ["accuracy", "f1"]
    assert (data.language, data.license) == ("en", "apache-2.0")


def test_model_index_holds_the_students_scores(report, tmp_path):
    build_model_card(report, model_id="owner/student").save(tmp_path / "README.md")
    header = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    data = ModelCard.load(tmp_path / "README.md").data
    assert header["model-index"] == eval_results_to_model_index(data.model_name, data.eval_results)
    [model] = header["model-index"]
    [result] = model["results"]
    assert model["name"] == "student"
    assert result["task"] == {"type": "text-classification", "name": "Text Classification"}
    assert result["dataset"] == {
        "type": "nyu-mll/glue",
        "name": "nyu-mll/glue mrpc",
        "config": "mrpc",
        "split": "validation",
    }
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {"accuracy": 0.76, "f1": 0.855}


def test_correlations_have_the_hubs_names(report):
    scores = {"validation": {"pearson": 0.8, "spearman": 0.7, "matthews_correlation": 0.6}}
    report = dataclasses.replace(report, student=dataclasses.replace(report.student, metrics=scores))
    assert build_model_card(report).data.metrics == ["pearsonr", "spearmanr", "matthews_correlation"]


def test_a_local_teacher_and_local_rows_are_told_in_the_text_alone(report, tmp_path):
    report = dataclasses.replace(
        report,
        teacher_name="my-teacher",
        teacher_revision=None,
        data={"files": ["train.csv", "valid.csv"]},
        student_layers=None,
    )
    card = saved_and_loaded(build_model_card(report), tmp_path)
    metadata = card.data.to_dict()
    assert not {"base_model", "base_model_relation", "datasets", "language", "license"} & metadata.keys()
    assert metadata["model-index"][0]["results"][0]["dataset"]["name"] == "train.csv, valid.csv"
    assert "my-teacher (local folder)" in card.text
    assert "A student for texts of one's own (train.csv, valid.csv), distilled" in card.text
    assert "measured on texts of one's own (train.csv, valid.csv) alone" in card.text
    assert "mrpc" not in card.text
    assert "started from other weights" in card.text


def test_text_tells_origin_results_and_how_it_was_made(report):
    command = [
        "python",
        "/home/me/scripts/distill_glue.py",
        "configs/glue/mrpc.yaml",
        "--output_dir",
        "/home/my own/out",
    ]
    command += ["--hub_token", "secret-not-hf"]
    text = build_model_card(report, model_id="owner/student", command=command).text
    for expected in (
        "owner/teacher, revision 0123abcd",
        "bert.encoder.layer: 0, 2, 4",
        "The teacher was fine-tuned on the task first.",
        "| temperature | 4.0 |",
        "| soft_target_weight | 0.7 |",
        "| hard_target_weight | 0.3 |",
        "| validation | f1 | 0.9000 | 0.8550 | 95.0 % | 0.8000 |",
        "| parameters | 22,000,000 | 11,000,000 | 2.00x |",
        "| throughput (batch 32) | 100.0 examples/s | 200.0 examples/s | 2.00x |",
        "| data: rows.train | 3668 |",
        "| learning_rate | 5e-05 |",
        "torch 2.13.0",
        "Measured on A processor with 2 CPU threads.",
        "```bash\npython distill_glue.py configs/glue/mrpc.yaml --output_dir out\n```",
        "A student for the task mrpc, distilled",
        "## Limitations",
    ):
        assert expected in text, expected
    assert "/home" not in text and "secret" not in text


def test_rows_of_a_package_keep_the_tasks_name(report):
    card = build_model_card(dataclasses.replace(report, data={"package": "a-package", "files": ["rows.csv"]}))
    assert "A student for the task mrpc, distilled" in card.text
    assert {result.dataset_name for result in card.data.eval_results} == {"mrpc"}


@pytest.mark.parametrize(
    ("model_id", "shown"),
    [
        ("owner/student", "owner/student"),
        ("student", "student"),
        ("{folder}/not there/out", "out"),
        ("{folder}/runs/today/out/", "out"),
        ("runs/today/out", "out"),
        ("runs/today/missing", "runs/today/missing"),
        ("../elsewhere/out", "out"),
    ],
)
def test_a_local_folder_is_shown_by_its_base_name(report, tmp_path, monkeypatch, model_id, shown):
    (tmp_path / "runs" / "today" / "out").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    card = build_model_card(report, model_id=model_id.format(folder=tmp_path))
    assert f'model="{shown}")' in card.text
    assert card.data.model_name == shown.split("/")[-1]
    assert str(tmp_path) not in card.content


@pytest.mark.parametrize("example", ["a fine film", {"text": "a fine film", "text_pair": "not bad"}])
def test_the_snippet_runs_as_shown(report, tmp_path, monkeypatch, capsys, example):
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "a", "fine", "film", "not", "bad"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(tmp_path / "student")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=37,
        id2label={0: "different", 1: "equivalent"},
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    card = build_model_card(report, model_id="student", example=example)
    [snippet] = re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)
    exec(snippet, {})
    printed = capsys.readouterr().out
    assert "'label': 'different'" in printed or "'label': 'equivalent'" in printed
