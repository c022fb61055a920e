import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader, TensorDataset

from hf_distill.repeated_rows import rows_that_count


def loaders(num_rows, batch_size, num_processes, drop_last=False):
    """One loader for each process, as Accelerate prepares it there."""
    dataset = TensorDataset(torch.arange(num_rows))
    for process_index in range(num_processes):
        loader = DataLoader(
            dataset,
            batch_size,
            drop_last=drop_last,
            collate_fn=lambda rows: {"row": torch.stack([r[0] for r in rows])},
        )
        yield prepare_data_loader(
            loader, num_processes=num_processes, process_index=process_index, put_on_device=False, rng_types=[]
        )


def rows_counted(num_rows, batch_size, num_processes, skipped=0, drop_last=False):
    counted = []
    for process_index, loader in enumerate(loaders(num_rows, batch_size, num_processes, drop_last)):
        loader = skip_first_batches(loader, skipped) if skipped else loader
        for batch in loader:
            counted += batch["row"][rows_that_count(batch, loader, process_index)].tolist()
    return sorted(counted)


@pytest.mark.parametrize("num_processes", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [12, 13, 17, 21, 22, 23, 24])
def test_every_row_counts_once(num_rows, num_processes):
    assert rows_counted(num_rows, 4, num_processes) == list(range(num_rows))


@pytest.mark.parametrize("num_processes", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [13, 17, 21, 22, 23, 24])
def test_every_row_that_is_left_counts_once_after_a_resume(num_rows, num_processes):
    assert rows_counted(num_rows, 4, num_processes, skipped=1) == list(range(4 * num_processes, num_rows))


@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_nothing_is_repeated_where_the_last_rows_are_dropped(num_processes, skipped):
    whole = range(4 * num_processes * skipped, 23 // (4 * num_processes) * 4 * num_processes)
    assert rows_counted(23, 4, num_processes, skipped, drop_last=True) == list(whole)


def test_a_batch_from_elsewhere_counts_whole():
    batch = {"row": torch.arange(5)}
    assert rows_that_count(batch, None, 1).all()
    assert rows_that_count(batch, DataLoader(range(5)), 1).all()
