"""A ``Trainer`` with projections beside the student, and a learning rate that starts anew in each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hf_distill.objectives import Stages
from hf_distill.objectives.projections import Projections
from hf_distill.objectives.stage_schedule import scheduler_of_stages
from hf_distill.student_trainer import StudentTrainer


class StagedTrainer(StudentTrainer):
    """What an objective adds to the optimiser, its schedule and the checkpoints.

    A subclass sets ``objective`` and ``projections`` in its constructor.
    """

    objective: Stages
    projections: Projections | None = None

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Trainer's optimiser, or the one that was given, with a group of its own for projections."""
        optimizer = super().create_optimizer(model)
        if self.projections is not None and not self._optimises_projections(optimizer):
            rate = getattr(self.args, "projection_learning_rate", None) or self.args.learning_rate
            group = {"params": self.projections.parameters, "lr": rate, "weight_decay": self.args.weight_decay}
            optimizer.add_param_group(group)
        return optimizer

    def _optimises_projections(self, optimizer: torch.optim.Optimizer) -> bool:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return self.projections is not None and any(id(parameter) in held for parameter in self.projections.parameters)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Trainer's schedule; with several stages, once for each."""
        if self.lr_scheduler is None and len(self.objective.stages) > 1:
            optimizer = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = scheduler_of_stages(self.objective, self.args, optimizer, num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.projections is not None and self.args.should_save:
            self.projections.save(Path(output_dir))
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.projections is not None and checkpoint is not None:
            self.projections.load(Path(checkpoint))
        super()._load_optimizer_and_scheduler(checkpoint)
