import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from conftest import PaddingCollator, random_rows, tiny_bert
from tiny_tasks import images, tiny_vit
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerControl, TrainerState, default_data_collator

from hf_distill import DistillationTrainer
from hf_distill.sampling import EpochCallback, LongestFirstSampler, SeededLengthGroupedSampler, sampler_inside

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


def padding(rows, batch_size=8, lengths=LENGTHS):
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return sum(max(lengths[i] for i in batch) * len(batch) - sum(lengths[i] for i in batch) for batch in batches)


def test_rows_of_similar_length_come_together():
    shuffled = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(0)).tolist()
    for epoch in range(3):
        assert padding(order(epoch=epoch)) < 0.25 * padding(shuffled)


def skewed_lengths(count=20_000):
    """As in many corpora: mostly short, and few long ones."""
    return (torch.randn(count, generator=torch.Generator().manual_seed(0)) * 0.6 + 2.5).exp().int().clamp(3).tolist()


@pytest.mark.parametrize("batch_size", [16, 32])
def test_hardly_anything_is_padding(batch_size):
    lengths = skewed_lengths()
    assert padding(range(len(lengths)), batch_size, lengths) > sum(lengths)
    for epoch in range(2):
        rows = order(epoch=epoch, lengths=lengths, batch_size=batch_size)
        assert padding(rows, batch_size, lengths) < 0.04 * sum(lengths)


def test_long_and_short_steps_alternate_at_random():
    lengths = skewed_lengths()
    rows = torch.tensor(order(lengths=lengths, batch_size=16)).view(-1, 16)
    of_steps = torch.tensor(lengths)[rows].float().mean(1)[1:]
    following = torch.corrcoef(torch.stack([of_steps[:-1], of_steps[1:]]))[0, 1]
    assert abs(following) < 0.1


def test_the_neighbours_of_a_row_change_between_epochs():
    """Also where no two rows are equally long, so that sorting alone would always give the same ones."""
    lengths = list(range(1, 801))
    first, second = (torch.tensor(order(epoch=epoch, lengths=lengths)).view(-1, 8) for epoch in (0, 1))
    neighbours = [{frozenset(step.tolist()) for step in steps} for steps in (first, second)]
    assert not neighbours[0] & neighbours[1]


def test_only_the_last_step_is_short():
    rows = order(lengths=LENGTHS)
    in_steps = [sorted(LENGTHS[row] for row in rows[start : start + 8]) for start in range(0, 203, 8)]
    assert len(in_steps[-1]) == 3
    assert max(step[-1] - step[0] for step in in_steps[:-1]) < 15


def test_longest_first():
    assert list(LongestFirstSampler([2, 5, 5, 1, 7])) == [4, 1, 2, 0, 3]
    assert len(LongestFirstSampler([2, 5])) == 2


def test_the_longest_row_comes_first():
    """So that memory runs out at once or never."""
    for count in (5, 9, 17, 203):
        for epoch in range(3):
            assert LENGTHS[order(epoch=epoch, lengths=LENGTHS[:count])[0]] == max(LENGTHS[:count])


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


def sampler_of(make_arguments, rows, **options):
    arguments = make_arguments(soft_target_weight=0, **options.pop("arguments", {}))
    model = tiny_vit() if "pixel_values" in getattr(rows, "column_names", ()) else tiny_bert(layers=1)
    trainer = DistillationTrainer(model=model, args=arguments, train_dataset=rows, **options)
    return sampler_inside(trainer.get_train_dataloader())


def test_grouping_is_the_default(make_arguments):
    sampler = sampler_of(make_arguments, random_rows(22), data_collator=PaddingCollator())
    assert isinstance(sampler, SeededLengthGroupedSampler)
    assert sampler.lengths.tolist() == [len(row["input_ids"]) for row in random_rows(22)]


def test_a_column_of_lengths_is_believed(make_arguments):
    rows = random_rows(5).add_column("length", [5, 4, 3, 2, 1])
    arguments = {"remove_unused_columns": False}
    assert sampler_of(make_arguments, rows, arguments=arguments).lengths.tolist() == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "rows", [images(6), torch.utils.data.TensorDataset(torch.ones(6, 2))], ids=["images", "tuples"]
)
def test_rows_without_lengths_are_shuffled_and_that_is_said_once(make_arguments, rows, caplog):
    with caplog.at_level("INFO", logger="hf_distill.length_aware_trainer"):
        sampler = sampler_of(make_arguments, rows)
    assert not isinstance(sampler, SeededLengthGroupedSampler)
    assert sorted(sampler) == list(range(6))
    said = [record.levelname for record in caplog.records if "no lengths" in record.message]
    assert said == ["INFO"]


def test_images_are_shuffled_anew_in_every_epoch_and_with_every_seed(make_arguments):
    def orders(**arguments):
        seen = []

        def collator(rows):
            seen.extend(row["labels"] for row in rows)
            return default_data_collator(rows)

        rows = images(12).remove_columns("labels").add_column("labels", list(range(12)))
        trainer = DistillationTrainer(
            model=tiny_vit(layers=1, num_labels=12),
            args=make_arguments(soft_target_weight=0, num_train_epochs=2, **arguments),
            train_dataset=rows,
            data_collator=collator,
        )
        trainer.train()
        return [tuple(seen[:12]), tuple(seen[12:])]

    first, second = orders()
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert [first, second] == orders()
    assert [first, second] != orders(data_seed=5)
