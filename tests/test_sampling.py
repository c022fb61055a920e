import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from conftest import PaddingCollator, random_rows, tiny_bert
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerControl, TrainerState

from hf_distill import DistillationTrainer
from hf_distill.sampling import EpochCallback, SeededLengthGroupedSampler

LENGTHS = torch.randint(3, 60, (203,), generator=torch.Generator().manual_seed(0)).tolist()


def order(seed=0, epoch=0, lengths=LENGTHS, batch_size=8):
    sampler = SeededLengthGroupedSampler(batch_size, lengths, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 203])
def test_every_row_exactly_once(count):
    for epoch in range(3):
        assert sorted(order(epoch=epoch, lengths=LENGTHS[:count])) == list(range(count))


def test_the_order_depends_on_seed_and_epoch():
    orders = [tuple(order(seed, epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16


def test_the_order_depends_on_nothing_else():
    expected = order(seed=3, epoch=2)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    sampler = SeededLengthGroupedSampler(8, LENGTHS, 3)
    for epoch in (5, 0, 2):
        sampler.set_epoch(epoch)
        latest = list(sampler)
    assert latest == expected
    assert torch.equal(torch.get_rng_state(), before)


def padding(rows, batch_size=8):
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return sum(max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch) for batch in batches)


def test_rows_of_similar_length_come_together():
    shuffled = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(0)).tolist()
    for epoch in range(3):
        assert padding(order(epoch=epoch)) < 0.25 * padding(shuffled)


def test_the_longest_row_comes_first():
    """So that memory runs out at once or never."""
    for epoch in range(3):
        assert LENGTHS[order(epoch=epoch)[0]] == max(LENGTHS)


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("skipped", [0, 3])
def test_the_epoch_reaches_the_sampler_through_the_wrappers(num_processes, skipped):
    sampler = SeededLengthGroupedSampler(8, LENGTHS, 0)
    batches = BatchSampler(sampler, 8, drop_last=False)
    if num_processes > 1:
        batches = BatchSamplerShard(batches, num_processes, process_index=1)
    if skipped:
        batches = SkipBatchSampler(batches, skipped)
    loader = DataLoader(LENGTHS, batch_sampler=batches)
    EpochCallback().on_epoch_begin(None, TrainerState(epoch=2.5), TrainerControl(), train_dataloader=loader)
    assert sampler.epoch == 2


def test_loaders_without_such_a_sampler_are_left_alone():
    for loader in (None, DataLoader(LENGTHS), DataLoader(LENGTHS, batch_size=None)):
        control = TrainerControl()
        EpochCallback().on_epoch_begin(None, TrainerState(epoch=1.0), control, train_dataloader=loader)
        assert control == TrainerControl()


class RecordingCollator(PaddingCollator):
    """Remembers which rows it saw; each row begins with its own number."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __call__(self, rows):
        self.seen += [row["input_ids"][0] for row in rows]
        return super().__call__(rows)


def rows_seen(make_arguments, **arguments):
    rows = random_rows(22)
    rows = rows.map(lambda row, number: {"input_ids": [number, *row["input_ids"][1:]]}, with_indices=True)
    collator = RecordingCollator()
    trainer = DistillationTrainer(
        model=tiny_bert(layers=1),
        args=make_arguments(soft_target_weight=0, num_train_epochs=3, logging_strategy="no", **arguments),
        train_dataset=rows,
        data_collator=collator,
    )
    trainer.train()
    assert len(collator.seen) == 66
    return [tuple(collator.seen[start : start + 22]) for start in (0, 22, 44)]


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_training_sees_every_row_once_in_each_epoch(make_arguments, strategy):
    epochs = rows_seen(make_arguments, train_sampling_strategy=strategy)
    assert [sorted(epoch) for epoch in epochs] == [list(range(22))] * 3
    assert len(set(epochs)) == (1 if strategy == "sequential" else 3)
    assert epochs == rows_seen(make_arguments, train_sampling_strategy=strategy)
    other = rows_seen(make_arguments, train_sampling_strategy=strategy, data_seed=5)
    assert (epochs == other) == (strategy == "sequential")


def test_the_order_does_not_depend_on_how_a_step_is_cut(make_arguments):
    whole = rows_seen(make_arguments, train_sampling_strategy="group_by_length", per_device_train_batch_size=8)
    cut = rows_seen(
        make_arguments,
        train_sampling_strategy="group_by_length",
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
    )
    assert whole == cut
