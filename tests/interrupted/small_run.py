"""A small distillation in which every random number and every step matters: dropout, uneven batches, accumulation."""

import hashlib

from conftest import PaddingCollator, random_rows, tiny_bert
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments

STEPS = 12
STEPS_PER_EPOCH = 6
"""22 rows in batches of 2, two to a step: the last step of an epoch has one batch only."""


class Interrupted(Exception):
    """Stands in for a kill between two steps."""


class InterruptAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Interrupted


def make_trainer(folder, callbacks=(), num_rows=22, trainer_class=DistillationTrainer, **arguments):
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 3,
        "hidden_state_weight": 0.1,
    }
    return trainer_class(
        model=tiny_bert(layers=2, dropout=0.1),
        teacher_model=tiny_bert(layers=2, seed=1),
        args=DistillationTrainingArguments(str(folder), **{**defaults, **arguments}),
        train_dataset=random_rows(num_rows),
        eval_dataset=random_rows(9, seed=5),
        data_collator=PaddingCollator(),
        callbacks=list(callbacks),
    )


def digest(model):
    """Of the weights' bits."""
    sha = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(weight.contiguous().numpy().tobytes())
    return sha.hexdigest()
