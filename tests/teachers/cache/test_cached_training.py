"""Training from a cache is training with its teacher."""

import copy

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from interrupted.small_run import InterruptAt, Interrupted
from teachers.cache.cached_training import cache_of, largest_difference, last_hidden_state, pair, train
from tiny_tasks import TASKS
from two_processes.cases import distilbert_of_bert

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError

HIDDEN = {"hidden_state_weight": 0.3}


class LeftPaddingCollator(PaddingCollator):
    def __call__(self, rows):
        width = max(len(row["input_ids"]) for row in rows)
        batch = {}
        for name in rows[0]:
            fill = -100 if name == "labels" else 0
            batch[name] = torch.tensor([[fill] * (width - len(row[name])) + list(row[name]) for row in rows])
        return batch


def by_length(rows):
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row].get("input_ids", [])))
    return rows.select(order)


@pytest.mark.parametrize("task", TASKS)
def test_it_is_bit_equal_where_the_batches_are_the_same(task, tmp_path):
    student, teacher, rows = pair(task)
    rows = by_length(rows)
    arguments = {"train_sampling_strategy": "sequential", **HIDDEN}
    live, live_steps, _ = train(tmp_path / "out", student, copy.deepcopy(teacher), rows, **arguments)
    cached = cache_of(teacher, rows, tmp_path / "cache", batch_size=8, needs=last_hidden_state(teacher))
    model, steps, _ = train(tmp_path / "out", student, cached, rows, **arguments)
    assert len(steps) == 6 and len(steps[0]) == 4
    assert steps == live_steps
    assert largest_difference(model, live) == 0
    assert largest_difference(model, student) > 1e-3


@pytest.mark.parametrize("task", TASKS)
def test_each_step_is_the_same_however_the_rows_are_shuffled(task, tmp_path):
    student, teacher, rows = pair(task)
    cached = cache_of(teacher, rows, tmp_path / "cache", needs=last_hidden_state(teacher))
    order = {} if task == "images" else {"train_sampling_strategy": "group_by_length"}
    for arguments in ({"gradient_accumulation_steps": 2, "per_device_train_batch_size": 5}, order):
        at_equal_weights = {**HIDDEN, **arguments, "learning_rate": 0.0, "num_train_epochs": 1}
        _, live_steps, live_gradients = train(tmp_path / "out", student, teacher, rows, **at_equal_weights)
        _, steps, gradients = train(tmp_path / "out", student, cached, rows, **at_equal_weights)
        for step, live_step in zip(steps, live_steps, strict=True):
            assert step == pytest.approx(live_step, rel=1e-5)
        for gradient, live_gradient in zip(gradients, live_gradients, strict=True):
            assert ((gradient - live_gradient).norm() / live_gradient.norm()).item() < 1e-5


@pytest.mark.parametrize("task", ["next token, Llama", "tokens"])
def test_padding_on_the_left(task, tmp_path):
    student, teacher, rows = pair(task)
    # BERT's positions count from the left, padding included, so only the same batches have the same answers.
    rows = by_length(rows.map(lambda row: {"labels": [-100, *row["labels"][1:]]}))
    needs = last_hidden_state(teacher)
    cached = cache_of(teacher, rows, tmp_path / "cache", LeftPaddingCollator(), needs=needs, batch_size=8)
    arguments = {**HIDDEN, "learning_rate": 0.0, "collator": LeftPaddingCollator(), "num_train_epochs": 1}
    if task == "tokens":
        arguments["train_sampling_strategy"] = "sequential"
    _, live_steps, _ = train(tmp_path / "out", student, teacher, rows, **arguments)
    _, steps, _ = train(tmp_path / "out", student, cached, rows, **arguments)
    for step, live_step in zip(steps, live_steps, strict=True):
        assert step == pytest.approx(live_step, rel=1e-5)


def test_a_first_token_predicted_from_padding_is_refused(tmp_path):
    _, teacher, rows = pair("next token, Llama")
    collator = cache_of(teacher, rows, tmp_path / "cache").collator(LeftPaddingCollator())
    with pytest.raises(InputError, match="labels where the teacher saw padding"):
        collator(list(rows)[:4])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_part_of_the_rows_in_another_order(workers, tmp_path):
    student, teacher, rows = pair("tokens")
    cached = cache_of(teacher, rows, tmp_path / "cache")
    part = rows.select([20, 3, 17, 5, 5, 0, 11, 23, 2])
    arguments = {"dataloader_num_workers": workers, "learning_rate": 0.0}
    _, live_steps, _ = train(tmp_path / "out", student, teacher, part, **arguments)
    _, steps, _ = train(tmp_path / "out", student, cached, part, **arguments)
    for step, live_step in zip(steps, live_steps, strict=True):
        assert step == pytest.approx(live_step, rel=1e-5)


def test_resumed_in_the_middle_of_an_epoch(tmp_path):
    student, teacher, rows = pair("classes")
    cached = cache_of(teacher, rows, tmp_path / "cache")
    arguments = {"save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 5}
    whole, whole_steps, _ = train(tmp_path / "whole", student, cached, rows, **arguments)
    with pytest.raises(Interrupted):
        train(tmp_path / "out", student, cached, rows, callbacks=[InterruptAt(3)], **arguments)
    resumed, steps, _ = train(tmp_path / "out", student, cached, rows, resume=True, **arguments)
    assert steps == whole_steps
    assert largest_difference(resumed, whole) == 0
    assert largest_difference(resumed, student) > 1e-3


def test_the_teacher_has_inputs_of_its_own(tmp_path):
    """A DistilBERT student takes no ``token_type_ids``, on which its BERT teacher's answers depend."""
    student, teacher = distilbert_of_bert()
    rows = random_rows(20, with_token_type_ids=True)
    ids = [[1, 2, 3, 4], [1, 2, 3, 4]]
    twins = Dataset.from_dict(
        {
            "input_ids": ids,
            "attention_mask": [[1] * 4] * 2,
            "token_type_ids": [[0] * 4, [0, 0, 1, 1]],
            "labels": [0, 1],
        }
    )
    for data in (rows, twins):
        cached = cache_of(teacher, data, tmp_path / f"cache-{len(data)}")
        _, live_steps, _ = train(tmp_path / "out", student, teacher, data, learning_rate=0.0)
        _, steps, _ = train(tmp_path / "out", student, cached, data, learning_rate=0.0)
        for step, live_step in zip(steps, live_steps, strict=True):
            assert step == pytest.approx(live_step, rel=1e-5)


def test_rows_without_labels(tmp_path):
    student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2)
    rows = random_rows(12, with_labels=False)
    cached = cache_of(teacher, rows, tmp_path / "cache")
    arguments = {"hard_target_weight": 0.0, "learning_rate": 0.0}
    _, live_steps, _ = train(tmp_path / "out", student, teacher, rows, **arguments)
    _, steps, _ = train(tmp_path / "out", student, cached, rows, **arguments)
    for step, live_step in zip(steps, live_steps, strict=True):
        assert step == pytest.approx(live_step, rel=1e-5)


def test_evaluation_asks_for_no_answers(tmp_path, make_arguments):
    student, teacher, rows = pair("classes")
    cached = cache_of(teacher, rows, tmp_path / "cache")
    trainer = DistillationTrainer(
        student, cached, make_arguments(), train_dataset=rows, data_collator=PaddingCollator()
    )
    unseen = random_rows(7, seed=9)
    expected = DistillationTrainer(student, teacher, make_arguments(), data_collator=PaddingCollator())
    assert trainer.evaluate(unseen)["eval_loss"] == expected.evaluate(unseen)["eval_loss"]
