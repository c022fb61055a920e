"""Objectives of every kind, and trainings on the same rows that must come out the same however these are cut."""

from functools import reduce
from operator import or_

import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from transformers import BertForSequenceClassification, BertForTokenClassification, TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments, needs_of_teacher
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Relations,
    SoftTargets,
)
from hf_distill.objectives.attention import ATTENTION_HEADS, ATTENTION_LOSSES
from hf_distill.objectives.contrast import CONTRAST_LOSSES
from hf_distill.objectives.hidden_states import HIDDEN_STATE_LOSSES
from hf_distill.objectives.soft_targets import SOFT_TARGET_LOSSES
from hf_distill.signal_needs import SignalNeeds

MINILM = ("query-key", "value-value")
OBJECTIVES = {
    **{f"soft targets, {loss}": [SoftTargets(loss=loss)] for loss in SOFT_TARGET_LOSSES},
    "soft targets, weighed": [SoftTargets(weigh_by_confidence=True)],
    **{f"states, {loss}": [HiddenStates(loss=loss, layer_mapping="auto")] for loss in HIDDEN_STATE_LOSSES},
    **{
        f"attention, {loss}, {heads}": [AttentionTransfer(loss=loss, heads=heads, layer_mapping="auto")]
        for loss in ATTENTION_LOSSES
        for heads in ATTENTION_HEADS
    },
    "relations, MiniLM": [Relations(relations=MINILM)],
    "relations, MiniLMv2": [Relations(relation_heads=8, layer_mapping=[[2, 2]])],
    **{f"contrast, {loss}": [Contrast(loss=loss, layer_mapping="auto")] for loss in CONTRAST_LOSSES},
    "contrast, first token": [Contrast(loss="distance", pooling="first")],
    "all": [
        SoftTargets(loss="dist"),
        HardTargets(weight=0.5),
        HiddenStates(loss="mse", weight=0.1),
        AttentionTransfer(weight=0.1),
        Relations(),
        Contrast(loss="similarity"),
    ],
}
NARROW = {
    "narrow, projected states": [HiddenStates(loss="mse", layer_mapping="auto"), HiddenStates(name="last")],
    "narrow, all": [
        SoftTargets(),
        HiddenStates(loss="first_token", layer_mapping="auto"),
        AttentionTransfer(heads="sum", layer_mapping="auto"),
        Relations(relation_heads=2),
        Contrast(loss="distance_angle"),
    ],
}
"""For a student half as wide as its teacher, with half as many heads."""

ALL = {**OBJECTIVES, **NARROW}


def objective_of(name):
    return DistillationObjective(ALL[name])


def pair_for(name, cls=BertForSequenceClassification, dropout=0.0):
    """A student and its teacher."""
    narrow = {"hidden_size": 16, "num_attention_heads": 2} if name in NARROW else {}
    sizes = {"cls": cls, "dropout": dropout, "initializer_range": 0.1}
    return tiny_bert(layers=2, seed=1, **sizes, **narrow), tiny_bert(layers=3, seed=2, **sizes)


def rows_of(count=12, per_token=False):
    return random_rows(count, per_token=per_token)


def all_needs():
    """What a cache must hold to serve every objective."""
    return reduce(or_, (needs_of_teacher(objective_of(name), *pair_for(name)) for name in ALL), SignalNeeds())


class Recorder(TrainerCallback):
    """Keeps the gradient of every step, that of projections included."""

    def __init__(self, trainer):
        self.trainer, self.gradients = trainer, []

    def on_pre_optimizer_step(self, *args, **kwargs):
        projections = self.trainer.projections
        weights = [*self.trainer.model.parameters(), *(projections.parameters if projections is not None else [])]
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        self.gradients.append(torch.cat([gradient.flatten().clone() for gradient in gradients]))


def make_trainer(objective, pair, rows, folder, collator=None, **arguments):
    """A trainer, and what records its gradients; at a learning rate of 0, all are taken at the same weights."""
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": 12,
    }
    trainer = DistillationTrainer(
        *pair,
        DistillationTrainingArguments(str(folder), **{**defaults, **arguments}),
        objective,
        train_dataset=rows,
        data_collator=collator or PaddingCollator(),
    )
    recorder = Recorder(trainer)
    # After the trainer's own callbacks, of which one averages the projections' gradients over the processes.
    trainer.add_callback(recorder)
    return trainer, recorder


def gradients_of(name, folder, rows=None, pair=None, **options):
    """Those of each step, and the logged loss of each."""
    rows = rows_of() if rows is None else rows
    trainer, recorder = make_trainer(objective_of(name), pair or pair_for(name), rows, folder, **options)
    trainer.train()
    return torch.stack(recorder.gradients), [log["loss"] for log in trainer.state.log_history if "loss" in log]


class PlacedCollator(PaddingCollator):
    """Pads tokens on one side, and says which position each token has, so that the side does not matter."""

    def __init__(self, side="right", multiple=1):
        super().__init__()
        self.side, self.multiple = side, multiple

    def __call__(self, rows):
        width = -(-max(len(row["input_ids"]) for row in rows) // self.multiple) * self.multiple
        batch = {}
        for name in rows[0]:
            fill = -100 if name == "labels" else 0
            pads = [[fill] * (width - len(row[name])) for row in rows]
            parts = zip(pads, (list(row[name]) for row in rows), strict=True)
            batch[name] = torch.tensor([pad + own if self.side == "left" else own + pad for pad, own in parts])
        return {**batch, "position_ids": (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)}


def token_pair_for(name):
    return pair_for(name, BertForTokenClassification)
