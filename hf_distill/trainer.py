"""``transformers.Trainer`` with a teacher: the objective, and nothing that Trainer does itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers.trainer_utils import TrainOutput

from hf_distill.arguments import DistillationTrainingArguments, RunArguments
from hf_distill.asking import check_needs
from hf_distill.connected_loss import connected
from hf_distill.errors import InputError
from hf_distill.loss_monitor import LossMonitor
from hf_distill.losses.counted_items import ItemCounts
from hf_distill.model_wrappers import unwrapped
from hf_distill.objectives import DistillationObjective, Stages
from hf_distill.objectives.projections import Projections, check_can_project
from hf_distill.objectives.whole_step import ExamplesOfStep, WholeStep
from hf_distill.signals import Signals
from hf_distill.staged_trainer import StagedTrainer
from hf_distill.teachers.teacher import Teacher, as_teacher


class DistillationTrainer(StagedTrainer):
    """Trains a student on hard labels and on what its teacher makes of the same rows.

    Everything that ``transformers.Trainer`` takes works as there. Differences on purpose:

    - Each term is averaged over what counts in the whole optimiser step, over all micro-batches and processes, so
      gradients do not depend on how the same rows are cut. The same holds for ``eval_loss``.
    - ``eval_loss`` is the student's own task loss; evaluation never runs the teacher.
    - A loss or a weight that is not finite stops the run before anything is saved.
    - ``train(resume_from_checkpoint=True)`` goes on from the last complete checkpoint, skipping torn ones.

    Args:
        model: The student, any model that returns ``logits``.
        teacher_model: The teacher: a model, which is frozen in place, moved to the training device and, under bf16,
            cast; or what :func:`cache_teacher_outputs` or :class:`TeacherEnsemble` gives. May be left out when no
            weight needs it: then this is a ``Trainer`` with the corrected averages.
        args: The arguments of the run.
        objective: What the student learns from, in place of what ``args`` says of it: terms put together in Python.
        **kwargs: As for ``transformers.Trainer``.

    Raises:
        InputError: Teacher and student do not fit each other or the objective, or several GPUs were given to one
            process.

    Example:
        >>> trainer = DistillationTrainer(
        ...     model=student, teacher_model=teacher, args=DistillationTrainingArguments("out", temperature=2.0),
        ...     train_dataset=train, eval_dataset=dev, processing_class=tokenizer,
        ... )  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        teacher_model: nn.Module | Teacher | None = None,
        args: RunArguments | None = None,
        objective: DistillationObjective | Stages | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else DistillationTrainingArguments("tmp_trainer")
        super().__init__(model=model, args=args, **kwargs)
        self._objective_given = objective
        self.teacher = as_teacher(teacher_model) if teacher_model is not None else None
        self._teacher_was_given = teacher_model is not None
        self.objective = self._objective_asked_for()
        self._set_up_teacher(unwrapped(self.model))
        self.projections = self._new_projections()
        self._loss_monitor = LossMonitor(self.objective.term_names, args.device)
        self._examples = ExamplesOfStep(self.accelerator)

    def _objective_asked_for(self) -> Stages:
        given = self._objective_given
        stages = Stages.of(given) if given is not None else self.args.objective(self._label_smoothing)
        if stages.needs_teacher and self.teacher is None and self._teacher_was_given:
            raise InputError(
                f"The objective ({', '.join(stages.term_names)}) needs the teacher now, and no term did when the "
                "trainer was made: to search a weight, make the trainer with it above 0."
            )
        if stages.needs_teacher and self.teacher is None:
            raise InputError(
                f"The objective ({', '.join(stages.term_names)}) needs a teacher, and there is none to learn from: "
                "pass teacher_model, or leave only the hard targets' weight above 0."
            )
        if self.teacher is None or not stages.looks_inside:
            return stages
        return stages.resolved(self._shape, self.teacher.shape)

    def _set_up_teacher(self, student: Any) -> None:
        if not self.objective.needs_teacher or self.teacher is None:
            self.teacher = None
            return
        check_needs(student, self.objective.student_needs, "student")
        self.teacher.pair_with(student, self.objective.teacher_needs, self.processing_class)
        self.teacher.prepare(self.accelerator, self.args.device)
        if not self.objective.always_needs_answers and self.args.ddp_find_unused_parameters is None:
            # The head then learns nothing, and DDP would wait for its gradients.
            self.args.ddp_find_unused_parameters = True

    def _new_projections(self) -> Projections | None:
        widths = {} if self.teacher is None or not self.objective.looks_inside else self.projected_widths()
        if not widths:
            return None
        check_can_project(self.accelerator, widths)
        projections = Projections(widths, self.accelerator, self.args.seed, self.args.max_grad_norm)
        self.add_callback(projections)
        return projections

    def projected_widths(self) -> dict[str, tuple[int, int]]:
        """By name, from and to which widths hidden states are projected."""
        return self.objective.projections(self._shape, self.teacher.shape) if self.teacher is not None else {}

    # ---- The loss ----

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The weighted objective in training; the student's own task loss in evaluation.

        Args:
            model: The student as it is wrapped for training.
            inputs: A collated batch.
            return_outputs: Also return the student's outputs.
            num_items_in_batch: What counts in the whole optimiser step, from :meth:`get_batch_samples`. Without it the
                averages are over this batch alone.

        Returns:
            A scalar that, averaged over processes and summed over micro-batches, is the loss of the step.
        """
        if not model.training:
            return self._evaluation_loss(model, inputs, return_outputs)
        objective = self._current_objective
        whole_step = self._whole_step(model, objective, num_items_in_batch)
        outputs, values = self.term_values(model, inputs, objective, num_items_in_batch, whole_step)
        if num_items_in_batch is not None:
            # DDP and DeepSpeed average gradients over processes, and Trainer averages losses when it logs, while the
            # totals already span them all.
            values = {name: value * self.accelerator.num_processes for name, value in values.items()}
            self._loss_monitor.add(values, self.state.global_step + 1)
        loss = connected(objective.weighted_sum(values), Signals.from_model_output(outputs).dense_logits)
        return (loss, outputs) if return_outputs else loss

    @property
    def _current_objective(self) -> DistillationObjective:
        return self.objective.at(self.state.global_step, self.state.max_steps)

    def term_values(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        objective: DistillationObjective,
        totals: ItemCounts | None,
        whole_step: WholeStep,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Run both models on a micro-batch.

        Args:
            model: The student as it is wrapped for training.
            inputs: The micro-batch on the training device.
            objective: Its terms.
            totals: What counts in the whole step; None for this micro-batch alone.
            whole_step: The examples that it is compared with.

        Returns:
            The student's outputs, and the unweighted terms by name.
        """
        projections = dict(self.projections.modules.items()) if self.projections is not None else {}
        inputs, batch = self._micro_batch(inputs, totals, whole_step, projections)
        outputs, signals = self._ask_student(model, inputs, objective.student_needs)
        teacher_signals = None
        if self.teacher is not None and objective.needs_teacher:
            teacher_signals = self.teacher(inputs, objective.teacher_needs)
            if self._shifts_labels:
                teacher_signals = teacher_signals.for_causal_prediction()
        return outputs, objective.values(signals, teacher_signals, batch)

    def _whole_step(self, model: nn.Module, objective: DistillationObjective, totals: ItemCounts | None) -> WholeStep:
        """What the micro-batch at hand is compared with, where examples are compared with one another."""
        comparing = objective.of_examples
        if comparing is None or totals is None:
            return WholeStep()

        def collect(batch: dict[str, Any], examples: WholeStep) -> None:
            self.term_values(model, self._prepare_inputs(batch), comparing, totals, examples)

        return self._examples.of_next_batch(collect)

    # ---- What counts ----

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Collect an optimiser step's micro-batches, and count what is in them over all processes."""
        batches = list(islice(epoch_iterator, num_batches))
        if not batches:
            return batches, None
        self._loss_monitor.start_step(self._current_objective.term_names)
        dataloader = self.accelerator.gradient_state.active_dataloader
        batches[-1] = self._with_example_mask(batches[-1], dataloader)
        self._examples.begin(batches)
        return batches, self._counts_of_step(batches, device)

    # ---- Logging ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the terms of the loss beside it: their averages since the last log, over all processes."""
        if "loss" in logs:
            self.raise_if_loss_not_finite()
            logs |= self._loss_monitor.averages(self.accelerator)
        super().log(logs, start_time)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> TrainOutput:
        # By now a hyperparameter search has set its arguments; and auto_find_batch_size starts over from here.
        objective = self._objective_asked_for()
        if self.teacher is not None and objective.looks_inside and not self._was_set_up_for(objective):
            raise InputError(
                "The objective looks at layers that no term looked at when the trainer was made: to search a weight, "
                "make the trainer with it above 0."
            )
        self.objective = objective
        self._loss_monitor = LossMonitor(self.objective.term_names, self.args.device)
        return super()._inner_training_loop(*args, **kwargs)

    def _was_set_up_for(self, objective: Stages) -> bool:
        old = self.objective
        if not old.looks_inside:
            return False
        needs = (objective.student_needs, old.student_needs), (objective.teacher_needs, old.teacher_needs)
        return all(new | known == known for new, known in needs)

    def raise_if_loss_not_finite(self) -> None:
        """Stop all processes if a term of the loss was NaN or infinite on any."""
        self._loss_monitor.raise_if_not_finite(self.accelerator)

    # ---- Rows ----

    def get_train_dataloader(self) -> DataLoader:
        """Trainer's loader; a teacher that is not live adds its answers to the batches."""
        if self.teacher is None:
            return super().get_train_dataloader()
        collator = self.data_collator
        self.data_collator = self.teacher.collator(collator)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = collator

    @property
    def _foreign_inputs(self) -> frozenset[str]:
        return self.teacher.input_names - self._student_inputs if self.teacher is not None else frozenset()

    def _set_signature_columns_if_needed(self) -> None:
        """Keep the columns that only the teacher reads (``token_type_ids`` for a DistilBERT student)."""
        super()._set_signature_columns_if_needed()
        if self.teacher is not None:
            columns: Any = self._signature_columns
            self._signature_columns = columns + sorted(self.teacher.input_names - set(columns))
