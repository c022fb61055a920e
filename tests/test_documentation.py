"""The examples of docs/ are run, exactly as shown, after that of the README."""

import re
from pathlib import Path

import pytest
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
)
from workflow.conftest import VOCABULARY, save_model, write_reviews

from hf_distill import CachedTeacher

ROOT = Path(__file__).parents[1]


def examples(path):
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL)


def run(example, names):
    exec(compile(example, "documentation", "exec"), names)


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the README's example leaves behind."""
    save_model(tmp_path / "my-teacher", num_hidden_layers=6)
    write_reviews(tmp_path / "reviews.csv", 24, seed=1, labels=(0, 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    names = {}
    (example,) = examples("README.md")
    run(example, names)
    return names


def test_cache_and_ensemble(names, tmp_path):
    one_teacher, several_teachers, _ = examples("docs/teacher_cache.md")
    run(one_teacher, names)
    assert isinstance(names["trainer"].teacher, CachedTeacher)
    opened = CachedTeacher("teacher_cache")
    assert opened.key_column in opened.with_keys(names["rows"], names["rows"]).column_names

    folder = save_model(tmp_path / "other", words=[*VOCABULARY[:5], *reversed(VOCABULARY[5:])])
    names["other_tokenizer"] = AutoTokenizer.from_pretrained(folder)
    names["other_teacher"] = AutoModelForSequenceClassification.from_pretrained(folder)
    names["other_rows"] = names["rows"].map(lambda row: names["other_tokenizer"](row["text"], truncation=True))
    run(several_teachers, names)
    assert names["trainer"].teacher.weights == (2 / 3, 1 / 3)
    assert names["other"].key_column in names["rows"].column_names


def test_sampled_logits(names):
    _, _, sampled = examples("docs/teacher_cache.md")
    config = GPT2Config(vocab_size=200, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    names["teacher"] = GPT2LMHeadModel(config)
    names["rows"] = names["rows"].select_columns(["input_ids", "attention_mask"])
    run(sampled, names)
    collator = names["cached"].collator(DataCollatorWithPadding(names["tokenizer"]))
    signals = names["cached"](collator([names["rows"][0], names["rows"][1]]))
    assert signals.sparse.token_ids.shape[-1] == 64
