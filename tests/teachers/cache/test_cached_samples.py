"""Sampled logits of large vocabularies, stored."""

import pytest
import torch
from conftest import PaddingCollator
from teachers.cache.cached_training import cache_of, last_hidden_state, pair, train

from hf_distill import SparseSampling
from hf_distill.teachers.cache import CacheMismatch, shards
from hf_distill.teachers.cache.keys import row_key
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs

SAMPLING = SparseSampling(top_k=4, samples=6, temperature=3.0, seed=5)


@pytest.mark.parametrize("task", ["masked tokens", "next token, Llama"])
def test_each_rows_sample_is_drawn_by_its_key(task, tmp_path):
    student, teacher, rows = pair(task)
    cached = cache_of(teacher, rows, tmp_path / "cache", sampling=SAMPLING, needs=last_hidden_state(teacher))
    cached.pair_with(student, last_hidden_state(teacher))
    signals = cached(cached.collator(PaddingCollator())(list(rows)), last_hidden_state(teacher))
    assert signals.logits is None and signals.sparse.temperature == 3.0
    assert signals.sparse.token_ids.shape == (24, 12, 10)
    for place, row in enumerate(rows):
        inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            output = teacher(**inputs, output_hidden_states=True)
        key = row_key(row, TeacherInputs.of(teacher))
        expected = SAMPLING(output.logits[0], int.from_bytes(key[:8], "little"))
        length = len(row["input_ids"])
        assert torch.equal(signals.sparse.token_ids[place, :length], expected.token_ids)
        torch.testing.assert_close(signals.sparse.probabilities[place, :length], expected.probabilities)
        torch.testing.assert_close(signals.sparse.entropy[place, :length], expected.entropy)
        (found,) = signals.hidden_states.values()
        states = output.hidden_states[-1][0]
        torch.testing.assert_close(found[place, :length], states, rtol=1e-5, atol=1e-5)


def test_whole_examples(tmp_path):
    _, teacher, rows = pair("classes")
    sampling = SparseSampling(top_k=1, samples=1, temperature=2.0)
    cached = cache_of(teacher, rows, tmp_path / "cache", sampling=sampling)
    sparse = cached(cached.collator(PaddingCollator())(list(rows))).sparse
    assert sparse.token_ids.shape == sparse.probabilities.shape == (24, 2) and sparse.entropy.shape == (24,)
    batch = PaddingCollator()(list(rows))
    with torch.no_grad():
        logits = teacher(batch["input_ids"], batch["attention_mask"]).logits
    assert torch.equal(sparse.token_ids[:, 0], logits.argmax(-1).int())
    torch.testing.assert_close(sparse.probabilities[:, 0], (logits / 2).softmax(-1).amax(-1))


def test_the_same_is_drawn_whatever_the_batches_and_interruptions(tmp_path, monkeypatch):
    _, teacher, rows = pair("masked tokens")
    drawn = []
    for batch_size in (1, 7):
        cached = cache_of(teacher, rows, tmp_path / str(batch_size), sampling=SAMPLING, batch_size=batch_size)
        drawn.append(cached(cached.collator(PaddingCollator())(list(rows))).sparse.token_ids)
        monkeypatch.setattr(shards, "SHARD_SECONDS", 0)
    assert torch.equal(*drawn)


def test_the_settings_of_the_sample_are_in_the_fingerprint(tmp_path):
    _, teacher, rows = pair("masked tokens")
    cache_of(teacher, rows, tmp_path / "cache", sampling=SAMPLING)
    other = SparseSampling(top_k=4, samples=6, temperature=2.0, seed=6)
    with pytest.raises(CacheMismatch, match="sampling.seed 5 there and 6 here, sampling.temperature 3"):
        cache_of(teacher, rows, tmp_path / "cache", sampling=other)
    with pytest.raises(CacheMismatch, match="sampling"):
        cache_of(teacher, rows, tmp_path / "cache")


def test_a_student_learns_from_it(tmp_path):
    """On average over many draws as from all logits."""
    student, teacher, rows = pair("next token, Llama")
    arguments = {
        "temperature": 3.0,
        "hard_target_weight": 0.0,
        "learning_rate": 0.0,
        "per_device_train_batch_size": 24,
    }
    _, live, _ = train(tmp_path / "out", student, teacher, rows, num_train_epochs=1, **arguments)
    found = []
    for seed in range(8):
        sampling = SparseSampling(top_k=10, samples=20, temperature=3.0, seed=seed)
        cached = cache_of(teacher, rows, tmp_path / str(seed), sampling=sampling)
        _, steps, _ = train(tmp_path / "out", student, cached, rows, num_train_epochs=1, **arguments)
        found.append(steps[0][0])
    found = torch.tensor(found)
    assert found.std() > 0
    assert abs(found.mean() - live[0][0]) < 4 * found.std() / 8**0.5
