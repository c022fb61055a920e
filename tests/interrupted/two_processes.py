"""What two processes do when one of them is unlucky, for torchrun; the main process prints JSON last.

torchrun --standalone --nproc_per_node 2 two_processes.py FOLDER
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from accelerate import PartialState
from interrupted.small_run import InterruptAt, Interrupted, digest, make_trainer
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import TrainerState

# 21 rows: 11 batches of 2, six rounds for two processes, of which the last repeats three rows; three steps an epoch.
ROWS, BAD_STEP, LAST_STEP = 21, 4, 9


class PoisonOneProcess(TrainerCallback):
    """Makes one process, and no other, compute NaN from a step on: its teacher breaks."""

    def __init__(self, teacher):
        self.teacher = teacher

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == BAD_STEP and PartialState().process_index == 1:
            with torch.no_grad():
                self.teacher.classifier.bias.fill_(torch.nan)


def make(folder, callbacks=(), **arguments):
    return make_trainer(folder, callbacks, num_rows=ROWS, **{"num_train_epochs": 3, "save_steps": 2, **arguments})


def history(trainer):
    return [{name: log[name] for name in log if name.endswith("loss")} for log in trainer.state.log_history[:-1]]


def resumed_in_the_middle_of_an_epoch(folder):
    # Accelerate itself tells its random sampler the epoch after a resume, but no other sampler.
    grouped = {"train_sampling_strategy": "group_by_length"}
    whole = make(folder / "whole", **grouped)
    whole.train()
    try:
        make(folder / "interrupted", [InterruptAt(5)], **grouped).train()
    except Interrupted:
        PartialState().wait_for_everyone()
    set_seed(9)
    resumed = make(folder / "interrupted", **grouped)
    resumed.train(resume_from_checkpoint=True)
    return {
        "whole": [whole.state.global_step, digest(whole.model), history(whole)],
        "resumed": [resumed.state.global_step, digest(resumed.model), history(resumed)],
    }


def not_finite_in_one_process(folder):
    trainer = make(folder, logging_steps=100, save_steps=3)
    trainer.add_callback(PoisonOneProcess(trainer.teacher.model))
    try:
        trainer.train()
    except FloatingPointError as error:
        return {"error": str(error), "checkpoints": sorted(path.name for path in folder.glob("checkpoint-*"))}
    return {"error": None}


def slow_to_save_random_state(folder):
    """What is there when the main process writes the state that vouches for all, while the other is late."""
    found, save, save_to_json = [], torch.save, TrainerState.save_to_json

    def save_late(content, path, *args, **kwargs):
        if str(path).endswith("rng_state_1.pth"):
            time.sleep(0.5)
        save(content, path, *args, **kwargs)

    def look_and_save(state, path):
        found.append(sorted(file.name for file in Path(path).parent.glob("rng_state*")))
        save_to_json(state, path)

    torch.save, TrainerState.save_to_json = save_late, look_and_save
    make(folder, max_steps=2).train()
    torch.save, TrainerState.save_to_json = save, save_to_json
    return found


def without_dropout(folder):
    trainer = make(folder, save_strategy="no", logging_steps=2)
    for model in (trainer.model, trainer.teacher.model):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    trainer.train()
    return history(trainer)


def main():
    folder = Path(sys.argv[1])
    results = {
        "resume": resumed_in_the_middle_of_an_epoch(folder / "resume"),
        "not_finite": not_finite_in_one_process(folder / "not_finite"),
        "random_states": slow_to_save_random_state(folder / "slow"),
        "logs": without_dropout(folder / "logs"),
    }
    if PartialState().is_main_process:
        sys.stdout.write(json.dumps(results) + "\n")
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main()
