"""Two processes see every row once in each epoch, also after a resume, and put an evaluation's results in order."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments

NUM_ROWS, STEPS_PER_EPOCH, EPOCHS, STOP_AT = 24, 3, 3, 4
STRATEGIES = ("random", "group_by_length")


class RecordingCollator(PaddingCollator):
    """Remembers which rows it saw; each row begins with its own number."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __call__(self, rows):
        self.seen += [row["input_ids"][0] for row in rows]
        return super().__call__(rows)


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


def numbered_rows(count=NUM_ROWS):
    return random_rows(count).map(lambda row, n: {"input_ids": [n, *row["input_ids"][1:]]}, with_indices=True)


def rows_seen(folder, strategy, stop_at=None, resume=False, **arguments):
    """Rows in the order in which this process saw them."""
    collator = RecordingCollator()
    # Processes need not have drawn equally many random numbers.
    torch.rand(1 + int(os.environ.get("RANK", 0)))
    trainer = DistillationTrainer(
        model=tiny_bert(layers=1),
        args=DistillationTrainingArguments(
            str(folder / strategy),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            soft_target_weight=0,
            num_train_epochs=EPOCHS,
            save_strategy="steps",
            save_steps=1,
            train_sampling_strategy=strategy,
            **(arguments or {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}),
        ),
        train_dataset=numbered_rows(),
        data_collator=collator,
        callbacks=[] if stop_at is None else [StopAt(stop_at)],
    )
    trainer.train(resume_from_checkpoint=resume or None)
    return collator.seen


def evaluated(folder):
    given = []

    def compute_metrics(prediction):
        given.append((prediction.predictions, prediction.label_ids, prediction.inputs))
        return {}

    trainer = DistillationTrainer(
        model=tiny_bert(),
        args=DistillationTrainingArguments(
            str(folder / "evaluated"),
            use_cpu=True,
            report_to="none",
            soft_target_weight=0,
            per_device_eval_batch_size=3,
            include_for_metrics=["inputs"],
            eval_accumulation_steps=2,
        ),
        data_collator=PaddingCollator(),
        compute_metrics=compute_metrics,
    )
    output = trainer.predict(numbered_rows(20))
    return (output.predictions, output.label_ids, *given[0])


def measure(folder):
    seen = {}
    for strategy in STRATEGIES:
        seen[strategy, "whole"] = rows_seen(folder / "whole", strategy)
        rows_seen(folder / "stopped", strategy, STOP_AT)
        seen[strategy, "resumed"] = rows_seen(folder / "stopped", strategy, resume=True)
    return seen, evaluated(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    own = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, __file__, str(folder)]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-5000:]
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


def together(found, key):
    """The rows of each step, of both processes."""
    steps = [torch.tensor(seen[key]).view(-1, 4) for seen, _ in found]
    return torch.cat(steps, dim=1).sort().values


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_row_once_in_each_epoch(found, strategy):
    epochs = together(found, (strategy, "whole")).view(EPOCHS, -1)
    assert epochs.sort().values.tolist() == [list(range(NUM_ROWS))] * EPOCHS
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == EPOCHS


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resume_in_mid_epoch_goes_on_with_the_rows_that_were_left(found, strategy):
    for seen, _ in found:
        assert seen[strategy, "resumed"] == seen[strategy, "whole"][4 * STOP_AT :]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_steps_are_those_of_one_process(found, strategy, tmp_path):
    alone = torch.tensor(rows_seen(tmp_path, strategy, per_device_train_batch_size=8)).view(-1, 8)
    assert together(found, (strategy, "whole")).tolist() == alone.sort().values.tolist()


def test_results_are_in_the_rows_own_order(found, tmp_path):
    expected = evaluated(tmp_path)
    for _, results in found:
        for result, alone in zip(results[:4], expected[:4], strict=True):
            np.testing.assert_allclose(result, alone, atol=1e-5)
        for row, inputs in zip(numbered_rows(20), results[4], strict=True):
            assert inputs[: len(row["input_ids"])].tolist() == row["input_ids"]


def worker(folder):
    results = measure(folder)
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
