"""How fast models answer, measured side by side on the same rows."""

import itertools
import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from hf_distill.evaluation.prediction import Collator, evaluating, input_columns, to_device

LATENCY_ROWS = 64
THROUGHPUT_BATCH_SIZE = 32
THROUGHPUT_BATCHES = 8
WARM_UP_ROUNDS = 2
MIN_ROUNDS = 3
MAX_ROUNDS = 256

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Speed:
    """Latency in milliseconds of one forward at batch 1; throughput in examples a second at batch 32."""

    latency_ms_median: float
    latency_ms_p95: float
    throughput: float


def measure_speed(
    models: dict[str, PreTrainedModel],
    dataset: Dataset,
    collator: Collator,
    time_budget: float = 10.0,
    own_rows: dict[str, tuple[Dataset, Collator]] | None = None,
) -> dict[str, Speed]:
    """Time the models' forward passes on rows spread evenly over the data set.

    In each round every model runs the same batch, and the first place rotates, so that whatever else the machine does
    weighs on all of them alike. The tensors are made before the clock starts.

    Args:
        models: Models by name, each on its device.
        dataset: Tokenized rows; each model gets the columns that its forward takes.
        collator: Makes a batch of tensors out of rows.
        time_budget: Seconds for everything, about: a few rounds are run even where they take longer.
        own_rows: By a model's name, the same rows for its own tokenizer, and what makes batches of them.

    Returns:
        The speed of each model by its name.
    """
    rows = {name: (own_rows or {}).get(name, (dataset, collator)) for name in models}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for model in models.values():
            stack.enter_context(evaluating(model))
        single = _time_rounds(models, _inputs(models, rows, LATENCY_ROWS, 1), time_budget / 2)
        many = _inputs(models, rows, THROUGHPUT_BATCHES, THROUGHPUT_BATCH_SIZE)
        batched = _time_rounds(models, many, time_budget / 2)
    return {
        name: Speed(
            latency_ms_median=float(np.median(single[name])) * 1e3,
            latency_ms_p95=float(np.percentile(single[name], 95)) * 1e3,
            throughput=THROUGHPUT_BATCH_SIZE * len(batched[name]) / sum(batched[name]),
        )
        for name in models
    }


def _inputs(
    models: dict[str, PreTrainedModel],
    rows: dict[str, tuple[Dataset, Collator]],
    batches: int,
    batch_size: int,
) -> dict[str, list[Batch]]:
    """The same rows for every model, in its own columns and on its own device; rows repeat where there are too few."""
    inputs = {}
    for name, model in models.items():
        dataset, collator = rows[name]
        chosen = np.linspace(0, len(dataset) - 1, batches * batch_size).round().astype(int)
        chosen_rows = dataset.select(chosen).select_columns(input_columns(model, dataset))
        # One by one, since to_list would turn arrays of pixels into lists of numbers.
        examples = [chosen_rows[index] for index in range(len(chosen_rows))]
        inputs[name] = [
            to_device(collator(examples[start : start + batch_size]), model.device)
            for start in range(0, len(examples), batch_size)
        ]
    return inputs


def _time_rounds(
    models: dict[str, PreTrainedModel], inputs: dict[str, list[Batch]], time_budget: float
) -> dict[str, list[float]]:
    """Seconds of each model's forwards, one for each round after the warm-up."""
    names = list(models)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    for number in itertools.count():
        first = number % len(names)
        for name in names[first:] + names[:first]:
            batch = inputs[name][number % len(inputs[name])]
            duration = _timed_forward(models[name], batch)
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(duration)
        rounds = number + 1 - WARM_UP_ROUNDS
        out_of_time = time.perf_counter() - started > time_budget
        if rounds >= MAX_ROUNDS or (rounds >= MIN_ROUNDS and out_of_time):
            break
    return seconds


def _timed_forward(model: PreTrainedModel, batch: Batch) -> float:
    _wait_for(model.device)
    started = time.perf_counter()
    model(**batch)
    _wait_for(model.device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    """Accelerators run behind the program; without this only the launch of the work would be timed."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
