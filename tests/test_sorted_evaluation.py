"""Evaluation runs the longest rows first, and nobody who looks at the results can tell."""

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from tiny_tasks import images, own_tokens, tiny_bart, tiny_vit
from transformers import BertForTokenClassification

from hf_distill import DistillationTrainer
from hf_distill.length_aware_trainer import LengthAwareTrainer
from hf_distill.sampling import LongestFirstSampler, sampler_inside

LENGTHS = [len(row["input_ids"]) for row in random_rows(22)]


class Recorder:
    """Keeps what compute_metrics is given."""

    def __call__(self, prediction, compute_result=True):
        self.given = prediction
        return {"rows": len(prediction.label_ids)}


def trainer_of(make_arguments, model=None, collator=None, **arguments):
    return DistillationTrainer(
        model=model or tiny_bert(initializer_range=0.1),
        args=make_arguments(soft_target_weight=0, per_device_eval_batch_size=4, **arguments),
        data_collator=collator or PaddingCollator(),
        compute_metrics=Recorder(),
    )


def unsorted_of(monkeypatch, trainer, rows):
    with monkeypatch.context() as patch:
        patch.setattr("hf_distill.length_aware_trainer.are_rows_stored", lambda dataset: False)
        output = trainer.predict(rows)
    return output, trainer.compute_metrics.given


def assert_equal_nests(found, expected, where=None):
    assert type(found) is type(expected)
    if isinstance(expected, (tuple, list)):
        for one, other in zip(found, expected, strict=True):
            assert_equal_nests(one, other, where)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal_nests(found[name], expected[name], where)
    elif expected is not None:
        mask = np.ones_like(expected, dtype=bool) if where is None else where
        np.testing.assert_allclose(found[mask], expected[mask], rtol=0, atol=1e-6)


def seen_by(trainer, rows):
    collator, widths = trainer.data_collator, []

    def watching(batch):
        widths.append(max(len(row.get("input_ids", ())) for row in batch))
        return collator(batch)

    trainer.data_collator = watching
    trainer.predict(rows)
    trainer.data_collator = collator
    return widths


def test_the_longest_rows_come_first(make_arguments):
    widths = seen_by(trainer_of(make_arguments), random_rows(22))
    in_order = sorted(LENGTHS, reverse=True)
    assert widths == [in_order[start] for start in range(0, 22, 4)]


@pytest.mark.parametrize("arguments", [{}, {"eval_accumulation_steps": 2}], ids=["at once", "accumulated"])
@pytest.mark.parametrize("count", [22, 20, 3])
def test_results_are_those_of_the_unsorted_loop(make_arguments, monkeypatch, count, arguments):
    rows = random_rows(count)
    trainer = trainer_of(make_arguments, include_for_metrics=["inputs", "loss"], **arguments)
    found, given = trainer.predict(rows), trainer.compute_metrics.given
    expected, expected_given = unsorted_of(monkeypatch, trainer, rows)
    assert_equal_nests(found.predictions, expected.predictions)
    assert found.label_ids.tolist() == expected.label_ids.tolist() == rows["labels"][:]
    assert found.metrics["test_loss"] == pytest.approx(expected.metrics["test_loss"], rel=1e-6)
    assert_equal_nests(given.predictions, expected_given.predictions)
    assert given.label_ids.tolist() == rows["labels"][:]
    for row, inputs in zip(rows, given.inputs, strict=True):
        assert inputs[: len(row["input_ids"])].tolist() == row["input_ids"]
    assert len(given.losses) == len(expected_given.losses) == count


def test_the_loss_of_a_row_is_that_of_its_batch(make_arguments):
    rows = random_rows(8)
    trainer = trainer_of(make_arguments, include_for_metrics=["loss"])
    trainer.predict(rows)
    losses = trainer.compute_metrics.given.losses
    for batch in torch.tensor(LongestFirstSampler([len(row["input_ids"]) for row in rows]).order).split(4):
        inputs = PaddingCollator()([rows[row] for row in batch.tolist()])
        with torch.no_grad():
            expected = trainer.model(**inputs).loss
        np.testing.assert_allclose(losses[batch.numpy()], expected, rtol=1e-6)


def test_equally_long_rows_give_the_same_bits(make_arguments, monkeypatch):
    rows = random_rows(22).map(lambda row: {name: (row[name] * 4)[:9] for name in ("input_ids", "attention_mask")})
    trainer = trainer_of(make_arguments)
    assert isinstance(sampler_inside(trainer.get_test_dataloader(rows)), LongestFirstSampler)
    found = trainer.predict(rows)
    expected, _ = unsorted_of(monkeypatch, trainer, rows)
    np.testing.assert_array_equal(found.predictions, expected.predictions)


def test_predictions_and_labels_of_tokens(make_arguments, monkeypatch):
    rows = random_rows(22, per_token=True)
    trainer = trainer_of(make_arguments, tiny_bert(cls=BertForTokenClassification, initializer_range=0.1))
    found = trainer.predict(rows)
    expected, _ = unsorted_of(monkeypatch, trainer, rows)
    assert found.label_ids.tolist() == expected.label_ids.tolist()
    lengths = np.array([len(row["input_ids"]) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    assert_equal_nests(found.predictions, expected.predictions, real)


def test_nested_predictions(make_arguments, monkeypatch):
    """A sequence-to-sequence model also returns its encoder's states."""
    rows = own_tokens(22)
    trainer = trainer_of(make_arguments, tiny_bart(), PaddingCollator(12))
    trainer.model.config.keys_to_ignore_at_inference = ["past_key_values"]
    found = trainer.predict(rows)
    assert isinstance(found.predictions, tuple)
    expected, _ = unsorted_of(monkeypatch, trainer, rows)
    assert_equal_nests(found.predictions, expected.predictions)


def test_metrics_in_batches_keep_the_rows_own_order(make_arguments):
    trainer = trainer_of(make_arguments, batch_eval_metrics=True)
    assert seen_by(trainer, random_rows(22)) == [max(LENGTHS[start : start + 4]) for start in range(0, 22, 4)]
    assert trainer.evaluate(random_rows(22))["eval_rows"] == 2


@pytest.mark.parametrize("arguments", [{"eval_do_concat_batches": False}, {"dataloader_drop_last": True}])
def test_what_cannot_be_put_back_keeps_its_order(make_arguments, arguments):
    trainer = trainer_of(make_arguments, **arguments)
    assert not isinstance(sampler_inside(trainer.get_test_dataloader(random_rows(22))), LongestFirstSampler)


def test_streams_and_images_keep_their_order(make_arguments):
    trainer = trainer_of(make_arguments)
    found = trainer.predict(random_rows(22).to_iterable_dataset())
    assert found.label_ids.tolist() == random_rows(22)["labels"][:]
    found = DistillationTrainer(model=tiny_vit(), args=make_arguments(soft_target_weight=0)).predict(images(7))
    assert found.label_ids.tolist() == images(7)["labels"][:]


def test_rows_that_are_computed_are_not_computed_twice(make_arguments):
    asked = []

    class Computed(torch.utils.data.Dataset):
        def __len__(self):
            return 22

        def __getitem__(self, row):
            asked.append(row)
            return random_rows(22)[row]

    trainer_of(make_arguments).predict(Computed())
    assert asked == list(range(22))


def test_compute_metrics_is_left_as_it_was(make_arguments, monkeypatch):
    trainer = trainer_of(make_arguments)
    given = trainer.compute_metrics
    trainer.evaluate(random_rows(6))
    assert trainer.compute_metrics is given

    def fail(*args, **kwargs):
        raise RuntimeError("Lost.")

    monkeypatch.setattr(LengthAwareTrainer, "prediction_step", fail)
    with pytest.raises(RuntimeError, match="Lost"):
        trainer.evaluate(random_rows(6))
    assert trainer.compute_metrics is given


def test_nothing_to_compute(make_arguments):
    trainer = trainer_of(make_arguments)
    trainer.compute_metrics = None
    assert trainer.predict(random_rows(5)).predictions.shape == (5, 3)
    assert trainer.predict(random_rows(5, with_labels=False)).label_ids is None
