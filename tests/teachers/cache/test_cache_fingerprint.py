"""A cache that was made from something else is refused, and the message says what differs."""

import copy

import pytest
import torch
import torch.nn.functional as functional
from conftest import PaddingCollator, random_rows, tiny_bert
from datasets import concatenate_datasets
from teachers.cache.cached_training import cache_of, pair
from tiny_tasks import collator_for
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import hf_distill.teachers.cache.fingerprint
from hf_distill.errors import InputError
from hf_distill.model_fingerprint import weights_fingerprint
from hf_distill.signal_needs import SignalNeeds
from hf_distill.teachers.cache import CachedTeacher, CacheMismatch
from hf_distill.teachers.cache.keys import row_key
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

STATES = SignalNeeds(hidden_states=frozenset({2, 4}))


def tokenizer(*words):
    rules = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(("[PAD]", "[UNK]", *words))}, "[UNK]")
    )
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=rules, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture
def given():
    """What a cache is made from."""
    return {
        "teacher": tiny_bert(),
        "rows": random_rows(12),
        "processing_class": tokenizer("a", "b"),
        "settings": {"task": "sst2", "max_seq_length": 32},
    }


def make(folder, given, **changes):
    return cache_of(folder=folder, collator=PaddingCollator(), **{**given, **changes})


class OtherBert(BertForSequenceClassification):
    pass


def with_weight_changed():
    teacher = tiny_bert()
    with torch.no_grad():
        teacher.classifier.bias[2] = torch.nextafter(teacher.classifier.bias[2], torch.tensor(1e9))
    return teacher


def with_config_changed():
    teacher = tiny_bert()
    teacher.config.layer_norm_eps = 1e-3
    return teacher


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"teacher": with_weight_changed}, {"weights"}),
        ({"teacher": with_config_changed}, {r"config\.layer_norm_eps 1e-12 there and 0\.001 here"}),
        ({"teacher": lambda: tiny_bert(cls=OtherBert)}, {"teacher 'BertFor.*' there and 'OtherBert' here"}),
        ({"teacher": lambda: tiny_bert().bfloat16()}, {"compute_dtype 'torch.float32' there and 'torch.bfloat16'"}),
        ({"storage_dtype": lambda: torch.float16}, {"storage_dtype 'torch.float32' there and 'torch.float16' here"}),
        ({"needs": lambda: STATES}, {r"inside \[\] there and \['hidden_state_2', 'hidden_state_4'\] here"}),
        ({"processing_class": lambda: tokenizer("b", "a")}, {"tokenizer"}),
        ({"processing_class": lambda: None}, {"tokenizer '.* there and None here"}),
        (
            {"settings": lambda: {"task": "cola", "max_seq_length": 64}},
            {"settings.max_seq_length 32 there and 64 here", "settings.task 'sst2' there and 'cola' here"},
        ),
        ({"settings": lambda: {"task": "sst2"}}, {"settings.max_seq_length 32 there and None here"}),
    ],
)
def test_each_part_that_differs_is_named(changes, parts, given, tmp_path):
    make(tmp_path / "cache", given)
    before = sorted(path.name for path in (tmp_path / "cache").iterdir())
    changed = {name: make_value() for name, make_value in changes.items()}
    with pytest.raises(CacheMismatch) as raised:
        make(tmp_path / "cache", given, **changed)
    for part in parts:
        raised.match(part)
    raised.match("overwrite_teacher_cache.*another folder")
    assert str(raised.value).count(" there and ") <= max(len(parts), 2)
    assert before == sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert make(tmp_path / "other", given, **changed)
    make(tmp_path / "cache", given, overwrite=True, **changed)
    assert make(tmp_path / "cache", given, **changed)
    if "needs" not in changes:
        with pytest.raises(CacheMismatch):
            make(tmp_path / "cache", given)


def test_another_version_of_the_package_is_named(given, tmp_path, monkeypatch):
    make(tmp_path / "cache", given)
    monkeypatch.setattr(hf_distill.teachers.cache.fingerprint, "__version__", "99.0")
    with pytest.raises(CacheMismatch, match="hf_distill '.*' there and '99.0' here"):
        make(tmp_path / "cache", given)


def test_what_does_not_matter_is_no_difference(given, tmp_path):
    first = make(tmp_path / "cache", given)
    teacher = copy.deepcopy(given["teacher"])
    teacher.config._name_or_path = "elsewhere"
    teacher.config.transformers_version = "0.0"
    teacher.save_pretrained(tmp_path / "saved")
    words = tokenizer("a", "b")
    words(["a b a", "a"], padding="max_length", truncation=True, max_length=2)
    reloaded = BertForSequenceClassification.from_pretrained(tmp_path / "saved")
    second = make(tmp_path / "cache", given, teacher=reloaded, processing_class=words)
    assert first.key_column == second.key_column


def test_a_part_of_the_rows_in_any_order_is_accepted_and_a_missing_row_is_not(given, tmp_path):
    rows = given["rows"]
    make(tmp_path / "cache", given)
    assert make(tmp_path / "cache", given, rows=rows.select([7, 2, 2, 11]))
    assert make(tmp_path / "cache", given, rows=rows.shuffle(seed=1))
    others = concatenate_datasets([rows, random_rows(3, seed=5)])
    with pytest.raises(CacheMismatch, match="lacks 3 of 15 rows.*overwrite_teacher_cache"):
        make(tmp_path / "cache", given, rows=others)
    with pytest.raises(InputError, match="3 of 15 rows of a batch are not in the teacher's cache"):
        CachedTeacher(tmp_path / "cache").collator(PaddingCollator())(list(others))


def test_hidden_states_that_are_there_need_not_be_used(given, tmp_path):
    make(tmp_path / "cache", given, needs=STATES)
    assert make(tmp_path / "cache", given)
    assert make(tmp_path / "cache", given, needs=SignalNeeds(hidden_states=frozenset({4})))
    with pytest.raises(CacheMismatch, match="inside .* there and .*hidden_state_3"):
        make(tmp_path / "cache", given, needs=SignalNeeds(hidden_states=frozenset({3})))
    next((tmp_path / "cache").glob("index-*")).unlink()
    with pytest.raises(CacheMismatch, match=r"inside \['hidden_state_2', 'hidden_state_4'\] there and \[\] here"):
        make(tmp_path / "cache", given)


class CuttingCollator(PaddingCollator):
    def __call__(self, rows):
        batch = super().__call__(rows)
        return {**batch, "input_ids": batch["input_ids"][:, :5], "attention_mask": batch["attention_mask"][:, :5]}


def test_a_collator_that_shows_the_teacher_something_else_is_named(given, tmp_path):
    rows = given["rows"]
    sample = make(tmp_path / "cache", given)._cache.made_from["collated"]["key"]
    keys = [row_key(row, TeacherInputs.of(given["teacher"])).hex() for row in rows]
    assert len(rows[keys.index(sample)]["input_ids"]) == max(map(len, rows["input_ids"]))
    with pytest.raises(CacheMismatch, match="collated.sees '.*' there and '.*' here"):
        cache_of(given["teacher"], rows, tmp_path / "cache", CuttingCollator(), **_without(given))
    # Only one row is compared, and there is nothing to compare without it.
    others = rows.select([row for row in range(len(rows)) if keys[row] != sample])
    assert cache_of(given["teacher"], others, tmp_path / "cache", CuttingCollator(), **_without(given))
    assert make(tmp_path / "cache", given, rows=rows.shuffle(seed=3))
    next((tmp_path / "cache").glob("index-*")).unlink()
    assert make(tmp_path / "cache", given, rows=rows.shuffle(seed=4))


def _without(given):
    return {name: value for name, value in given.items() if name not in ("teacher", "rows")}


@pytest.mark.parametrize("task", ["classes", "tokens", "sequence to sequence, BART", "sequence to sequence, T5"])
def test_a_collator_that_pads_more_is_no_difference(task, tmp_path):
    _, teacher, rows = pair(task)

    def pad_more(batch):
        fill = {"labels": -100, "input_ids": 1}
        return {
            name: functional.pad(value, (0, 3), value=fill.get(name, 0)) if value.dim() == 2 else value
            for name, value in batch.items()
        }

    cache_of(teacher, rows, tmp_path / "cache")
    assert cache_of(teacher, rows, tmp_path / "cache", lambda given: pad_more(collator_for(rows)(given)))


def test_a_processor_of_any_kind_counts_by_its_name(given, tmp_path):
    class Plain:
        pass

    class Other:
        pass

    make(tmp_path / "cache", given, processing_class=Plain())
    assert make(tmp_path / "cache", given, processing_class=Plain())
    with pytest.raises(CacheMismatch, match="tokenizer"):
        make(tmp_path / "cache", given, processing_class=Other())


def test_the_fingerprint_of_weights():
    teacher = tiny_bert()
    fingerprint = weights_fingerprint(teacher)
    assert fingerprint == weights_fingerprint(copy.deepcopy(teacher)) and len(fingerprint) == 64
    assert fingerprint != weights_fingerprint(with_weight_changed())
    assert weights_fingerprint(teacher.bfloat16()) not in (fingerprint, weights_fingerprint(teacher.half()))
    head = ["classifier.weight", "classifier.bias"]
    assert weights_fingerprint(with_weight_changed(), head) == weights_fingerprint(tiny_bert(), head)
