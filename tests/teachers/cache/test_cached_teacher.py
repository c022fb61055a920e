"""What a cached teacher checks, and what it hands over."""

import pickle

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from teachers.cache.cached_training import cache_of, last_hidden_state, pair, train
from transformers import default_data_collator

from hf_distill import DistillationTrainer, TeacherEnsemble
from hf_distill.errors import InputError
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.teachers.cache import CachedTeacher, CacheMismatch
from hf_distill.teachers.live_teacher import LiveTeacher

NAMES = {0: "negative", 1: "neutral", 2: "positive"}


def answers(cached, rows, **options):
    return cached(cached.collator(PaddingCollator())(list(rows)), **options)


def expected_logits(teacher, rows):
    batch = PaddingCollator()(list(rows))
    with torch.no_grad():
        return teacher(batch["input_ids"], batch["attention_mask"]).logits


def test_classes_are_put_into_the_students_order(tmp_path, make_arguments):
    rows, student = random_rows(8), tiny_bert(layers=2, id2label=NAMES)
    teacher = tiny_bert(seed=2, id2label={0: "POSITIVE", 1: "negative", 2: "Neutral"})
    cached = cache_of(teacher, rows, tmp_path / "cache")
    torch.testing.assert_close(answers(cached, rows).logits, expected_logits(teacher, rows))
    paired = DistillationTrainer(student, cached, make_arguments()).teacher
    # Paired again with one that numbers them as the teacher does.
    again = DistillationTrainer(tiny_bert(id2label=teacher.config.id2label), cached, make_arguments()).teacher
    torch.testing.assert_close(answers(paired, rows).logits, expected_logits(teacher, rows)[:, [1, 2, 0]])
    torch.testing.assert_close(answers(again, rows).logits, expected_logits(teacher, rows))


def test_what_does_not_fit_is_refused(tmp_path, make_arguments):
    rows, teacher = random_rows(8), tiny_bert(id2label=NAMES)
    cached = cache_of(teacher, rows, tmp_path / "cache")
    with pytest.raises(InputError, match="different class names"):
        cached.pair_with(tiny_bert(id2label={0: "a", 1: "b", 2: "c"}), NOTHING_ELSE)
    with pytest.raises(InputError, match="different number of classes"):
        cached.pair_with(tiny_bert(num_labels=2), NOTHING_ELSE)
    with pytest.raises(InputError, match="needs hidden_state_4 of the teacher.*needs=needs_of_teacher"):
        DistillationTrainer(tiny_bert(), cached, make_arguments(hidden_state_weight=0.1))
    with_states = cache_of(teacher, rows, tmp_path / "states", needs=last_hidden_state(teacher))
    with_states.pair_with(tiny_bert(hidden_size=64), last_hidden_state(teacher))
    with pytest.raises(InputError, match="hidden_state_3, value_2 of the teacher.*does not hold that"):
        needs = SignalNeeds(hidden_states=frozenset({3, 4}), values=frozenset({2}))
        with_states.pair_with(tiny_bert(), needs)


def test_a_batch_of_another_collator_is_refused(tmp_path):
    cached = cache_of(tiny_bert(), random_rows(8), tmp_path / "cache")
    with pytest.raises(InputError, match="_logits.*teacher.collator"):
        cached(PaddingCollator()(list(random_rows(8))))


def test_tokens_that_do_not_line_up_are_refused(tmp_path):
    _, teacher, rows = pair("tokens")
    cached = cache_of(teacher, rows, tmp_path / "cache")

    class Longer(PaddingCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    with pytest.raises(InputError, match="do not line up"):
        cached.collator(Longer())(list(rows)[:4])

    class Labelled(PaddingCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            return {**batch, "labels": batch["labels"].clamp(min=0)}

    with pytest.raises(InputError, match="labels where the teacher saw padding"):
        cached.collator(Labelled())(list(rows)[:4])


def test_it_reads_what_its_teacher_read(tmp_path):
    teacher = tiny_bert()
    cached = cache_of(teacher, random_rows(8), tmp_path / "cache")
    assert cached.input_names > LiveTeacher(teacher).input_names
    assert cached.key_column in cached.input_names and "labels" not in cached.input_names
    entries = cached.collator(PaddingCollator())(list(random_rows(8))).keys() - random_rows(1)[0].keys()
    assert len(entries) == 1 and entries < cached.input_names


# ---- Rows that the teacher read otherwise ----


def other_tokens(rows):
    """The same examples in another vocabulary, some of them longer."""
    ids = [[(token + 7) % 60 for token in row["input_ids"]] + [3] * (index % 3) for index, row in enumerate(rows)]
    ours = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    return rows.map(lambda row, index: {name: column[index] for name, column in ours.items()}, with_indices=True)


def test_a_teacher_with_other_tokens(tmp_path):
    student, teacher, rows = pair("classes")
    teacher_rows = other_tokens(rows)
    cached = cache_of(teacher, teacher_rows, tmp_path / "cache")
    keyed = cached.with_keys(rows, teacher_rows)
    assert keyed.column_names == [*rows.column_names, cached.key_column]
    assert cached.with_keys(keyed, teacher_rows).to_dict() == keyed.to_dict()
    order = [5, 1, 23, 7]
    batch = cached.collator(PaddingCollator())([keyed[row] for row in order])
    assert cached.key_column not in batch
    torch.testing.assert_close(batch["input_ids"], PaddingCollator()([rows[row] for row in order])["input_ids"])
    torch.testing.assert_close(cached(batch).logits, expected_logits(teacher, teacher_rows.select(order)))
    _, steps, _ = train(
        tmp_path / "out", student, cached, keyed, learning_rate=0.0, logging_steps=3, num_train_epochs=1
    )
    logits, soft = student(**inputs_of(rows)).logits, (expected_logits(teacher, teacher_rows) / 2).softmax(-1)
    divergence = (soft * (soft.log() - (logits / 2).log_softmax(-1))).sum(-1) * 2**2
    assert steps[0][1] == pytest.approx(divergence.mean().item(), rel=1e-5)


def inputs_of(rows):
    batch = PaddingCollator()(list(rows))
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_keys_of_other_rows_are_refused(tmp_path):
    rows = random_rows(8)
    cached = cache_of(tiny_bert(), rows, tmp_path / "cache")
    with pytest.raises(InputError, match="8 rows for the student and 3 for the teacher"):
        cached.with_keys(rows, rows.select(range(3)))
    with pytest.raises(CacheMismatch, match="lacks 8 of 8 rows"):
        cached.with_keys(rows, other_tokens(rows))


def test_two_caches_serve_one_batch(tmp_path):
    rows = random_rows(8)
    teachers = tiny_bert(seed=1), tiny_bert(seed=2)
    caches = [cache_of(teacher, rows, tmp_path / str(number)) for number, teacher in enumerate(teachers)]
    keyed = caches[0].with_keys(rows, rows)
    mixed = answers(TeacherEnsemble(caches), keyed).mixed
    for logits, teacher in zip(mixed.logits, teachers, strict=True):
        torch.testing.assert_close(logits, expected_logits(teacher, rows))


# ---- Other processes ----


def test_it_can_be_sent_to_another_process(tmp_path):
    student, teacher, rows = pair("tokens")
    cached = cache_of(teacher, rows, tmp_path / "cache", needs=last_hidden_state(teacher))
    cached.pair_with(student, last_hidden_state(teacher))
    content = pickle.dumps((cached, cached.collator(default_data_collator)))
    assert len(content) < 2000
    sent, collator = pickle.loads(content)
    assert collator.collator is default_data_collator
    collator.collator = PaddingCollator()
    for same in (sent.collator(PaddingCollator()), collator):
        for name, value in cached.collator(PaddingCollator())(list(rows)).items():
            assert torch.equal(value, same(list(rows))[name])


def test_it_is_opened_without_its_teacher(tmp_path):
    teacher, rows = tiny_bert(), random_rows(8)
    cache_of(teacher, rows, tmp_path / "cache")
    torch.testing.assert_close(answers(CachedTeacher(tmp_path / "cache"), rows).logits, expected_logits(teacher, rows))
    with pytest.raises(InputError, match="no complete teacher's cache"):
        CachedTeacher(tmp_path / "nowhere")
