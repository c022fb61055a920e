"""Trainings with a live teacher and from its cache, from the same student's weights."""

import copy

import torch
from tiny_tasks import TASKS, collator_for
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.model_shape import ModelShape
from hf_distill.signal_needs import SignalNeeds
from hf_distill.teachers.cache import cache_teacher_outputs

TERMS = ("loss", "soft_target_loss", "hard_target_loss", "hidden_state_loss")


class Recorder(TrainerCallback):
    """Keeps the gradient of every step."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(torch.cat([weight.grad.flatten().clone() for weight in model.parameters()]))


def pair(task):
    """A student and a teacher of a task, and its rows."""
    build, make_rows = TASKS[task]
    return build(layers=2, seed=1), build(layers=3 if "sequence" not in task else 2, seed=2), make_rows(count=24)


def train(folder, student, teacher, rows, collator=None, resume=False, callbacks=(), **arguments):
    """A copy of the student after training, the terms of each step, and its gradients."""
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 2,
        "logging_steps": 1,
    }
    recorder = Recorder()
    trainer = DistillationTrainer(
        model=copy.deepcopy(student),
        teacher_model=teacher,
        args=DistillationTrainingArguments(str(folder), **{**defaults, **arguments}),
        train_dataset=rows,
        data_collator=collator or collator_for(rows),
        callbacks=[recorder, *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    steps = [[log[term] for term in TERMS if term in log] for log in trainer.state.log_history if "loss" in log]
    return trainer.model, steps, recorder.gradients


def last_hidden_state(teacher):
    """What a cache must hold for the hidden states of the last layers."""
    return SignalNeeds(hidden_states=frozenset({ModelShape.of(teacher).layers}))


def cache_of(teacher, rows, folder, collator=None, **options):
    return cache_teacher_outputs(teacher, rows, folder, collator or collator_for(rows), **options)


def largest_difference(model, other):
    """Of any weight."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((weight - other_weight).abs().max().item() for weight, other_weight in pairs)
