"""A model's logits for every row of a data set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PreTrainedModel
from transformers.utils.logging import tqdm

from hf_distill.model_wrappers import forward_parameters
from hf_distill.row_lengths import longest_first, row_lengths

Collator = Callable[[list[dict[str, Any]]], Any]


def predict_logits(
    model: PreTrainedModel, dataset: Dataset, collator: Collator, batch_size: int = 32, description: str = "Predicting"
) -> np.ndarray:
    """Run the model over every row, longest rows first so that little is padding, and give the rows back in order.

    With several processes each runs every n-th batch and all of them receive all the logits. The batches are the same
    whatever the number of processes, and so are the values.

    Args:
        model: A model with one row of logits for each example; whole and on its device in every process.
        dataset: Tokenized rows or images. Columns that the model's forward does not take, and the labels, are left
            out.
        collator: Makes a batch of tensors out of rows, for instance ``DataCollatorWithPadding``.
        batch_size: Rows in a batch.
        description: What the progress bar of the main process says.

    Returns:
        ``(len(dataset), num_labels)``, float32.
    """
    state = PartialState()
    rows = dataset.select_columns(input_columns(model, dataset))
    batches = _batches_by_length(rows, batch_size)[state.process_index :: state.num_processes]
    loader = DataLoader(rows, batch_sampler=batches, collate_fn=collator)
    progress = tqdm(loader, desc=description, disable=not state.is_main_process, leave=False)
    predicted = []
    with evaluating(model), torch.inference_mode():
        for indices, batch in zip(batches, progress, strict=True):
            logits = model(**to_device(batch, model.device)).logits
            predicted.append((indices, logits.float().cpu().numpy()))
    gathered = gather_object(predicted)
    in_dataset_order = np.argsort(np.concatenate([indices for indices, _ in gathered]))
    return np.concatenate([logits for _, logits in gathered])[in_dataset_order]


def input_columns(model: PreTrainedModel, dataset: Dataset) -> list[str]:
    """The data set's columns that the model's forward takes, without the labels."""
    accepted = forward_parameters(model) - {"labels"}
    return [column for column in dataset.column_names if column in accepted]


def to_device(batch: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """The batch's tensors on the device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards each module is in the mode in which it was, also where those differ."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _batches_by_length(dataset: Dataset, batch_size: int) -> list[list[int]]:
    """Row indices in batches of similar length; the longest come first, where they show at once if memory is short.

    Rows without a length, such as images, keep their order.
    """
    lengths = row_lengths(dataset)
    rows = longest_first(lengths) if lengths is not None else list(range(len(dataset)))
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
