"""One batch through everything: the value of each term, and the gradient that it alone gives the student."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType, convert_outputs_to_fp32
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from transformers.trainer_utils import has_length

from hf_distill.objectives.objective import DistillationObjective
from hf_distill.objectives.stages import Stage
from hf_distill.objectives.whole_step import WholeStep
from hf_distill.schedules import value_at
from hf_distill.trainer import DistillationTrainer


@dataclass(frozen=True)
class TermInBatch:
    """One term at one time of the training.

    Attributes:
        name: Under which it is logged.
        weight: At this time.
        value: Without the weight.
        gradient: The norm, over all weights of the student that are trained, of the gradient of value times weight.
        cosine: Between that gradient and the gradient of all terms together; NaN where one of them is 0.
    """

    name: str
    weight: float
    value: float
    gradient: float
    cosine: float


@dataclass(frozen=True)
class Moment:
    """The objective at one time of the training.

    Attributes:
        stage: The name of the stage; empty where there is but one.
        when: ``at its beginning`` or ``at its end``; empty where nothing changes in between.
        terms: Those that may take part.
        gradient: The norm of the gradient of all together.
    """

    stage: str
    when: str
    terms: tuple[TermInBatch, ...]
    gradient: float

    @property
    def value(self) -> float:
        """The loss."""
        return sum(term.weight * term.value for term in self.terms if term.weight > 0)


@dataclass(frozen=True)
class BatchFacts:
    """What one batch gave.

    Attributes:
        rows: How many were in it.
        moments: The beginning of each stage, and its end where a schedule changes something.
    """

    rows: int
    moments: tuple[Moment, ...]


def reason_for_no_batch(trainer: DistillationTrainer) -> str:
    """Why a batch cannot be tried; empty where it can."""
    kind = trainer.accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return f"{kind.value} shards the models, which are whole on no process"
    if trainer.args.resume_from_checkpoint:
        return "the run goes on from a checkpoint, whose student is not loaded yet"
    rows: Any = trainer.train_dataset
    if rows is None or not has_length(rows) or not len(rows):
        return "there are no training rows that could be read twice"
    return ""


def try_one_batch(trainer: DistillationTrainer) -> BatchFacts:
    """Run a batch as a training step would, dropout included, without touching a gradient or a weight.

    The rows are drawn at random from the seed of the run, no more than a training batch has; they are a step of their
    own. The order of the training is left for that: its first batch holds the longest rows.

    Args:
        trainer: Before training.

    Raises:
        InputError: The objective cannot be computed on these rows.
        torch.OutOfMemoryError: The batch does not fit on the device.
    """
    inputs = _batch(trainer)
    trainer.model.train()
    stages = trainer.objective.stages
    moments = []
    for number, stage in enumerate(stages, 1):
        name = (stage.name or f"stage {number}") if len(stages) > 1 else ""
        for when, progress in _times(stage):
            moments.append(_moment(trainer, inputs, stage, name, when, progress))
    rows = len(next(value for value in inputs.values() if isinstance(value, Tensor)))
    return BatchFacts(rows, tuple(moments))


def _times(stage: Stage) -> list[tuple[str, float]]:
    changes = any(term.at(0.0) is not term for term in stage.objective.terms)
    return [("at its beginning", 0.0), ("at its end", 1.0)] if changes else [("", 0.0)]


def _batch(trainer: DistillationTrainer) -> dict[str, Any]:
    """Collated as for training, on the device."""
    rows: Any = trainer.train_dataset
    # Collators may hold a generator of their own, which a copy makes anew.
    collator: Any = copy.copy(trainer.data_collator)
    if trainer.teacher is not None:
        collator = trainer.teacher.collator(collator)
    if isinstance(rows, Dataset):
        rows = trainer._remove_unused_columns(rows)
    else:
        collator = trainer._get_collator_with_removed_columns(collator)
    count = min(trainer.args.train_batch_size, len(rows))
    chosen = np.random.default_rng(trainer.args.seed).choice(len(rows), count, replace=False)
    loader = DataLoader(Subset(rows, chosen.tolist()), batch_size=count, collate_fn=collator)
    return trainer._prepare_inputs(next(iter(loader)))


def _moment(
    trainer: DistillationTrainer, inputs: dict[str, Any], stage: Stage, name: str, when: str, progress: float
) -> Moment:
    terms = [term.at(progress) for term in stage.objective.terms]
    weights = {term.name: value_at(term.weight, progress) for term in terms}
    # A term whose weight is 0 just now is looked at all the same.
    objective = DistillationObjective([replace(term, weight=1.0) for term in terms])
    torch.manual_seed(trainer.args.seed)
    _, values = trainer.term_values(_forward(trainer), dict(inputs), objective, None, WholeStep())
    parameters = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    total = torch.stack([weights[item] * value for item, value in values.items()]).sum()
    together = _gradient(total, parameters)
    whole = _norm(together)
    facts = []
    for item, value in values.items():
        own = _gradient(value, parameters)
        norm = _norm(own)
        cosine = _dot(own, together) / (norm * whole) if norm > 0 and whole > 0 else float("nan")
        facts.append(TermInBatch(item, weights[item], value.item(), weights[item] * norm, cosine))
    return Moment(name, when, tuple(facts), whole)


def _forward(trainer: DistillationTrainer) -> Any:
    """The student as Accelerate would wrap it on one process."""
    return convert_outputs_to_fp32(trainer.accelerator.autocast()(trainer.model.__call__))


def _gradient(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    if not value.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True))


def _norm(gradient: Sequence[Tensor | None]) -> float:
    norms = [torch.linalg.vector_norm(part.float()) for part in gradient if part is not None]
    return torch.linalg.vector_norm(torch.stack(norms)).item() if norms else 0.0


def _dot(gradient: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> float:
    pairs = ((one, two) for one, two in zip(gradient, other, strict=True) if one is not None and two is not None)
    products = [torch.dot(one.float().flatten(), two.float().flatten()) for one, two in pairs]
    return torch.stack(products).sum().item() if products else 0.0
