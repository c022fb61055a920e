"""A ``Trainer`` that knows what counts in a step, and that scores the student on its own task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from hf_distill.arguments import RunArguments
from hf_distill.asking import ask
from hf_distill.errors import InputError
from hf_distill.label_alignment import predicts_next_token, with_decoder_inputs
from hf_distill.losses.counted_items import EXAMPLE_MASK, ItemCounts, find_counted_items
from hf_distill.model_shape import ModelShape
from hf_distill.model_wrappers import forward_parameters, unwrapped
from hf_distill.objectives import HardTargets
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.whole_step import WholeStep
from hf_distill.problem_type import ProblemType, classifies_whole_examples, infer_problem_type
from hf_distill.repeated_rows import rows_that_count
from hf_distill.resumable_trainer import ResumableTrainer
from hf_distill.sharding import name_layers_to_shard
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.signals import Signals


class StudentTrainer(ResumableTrainer):
    """What a loss is averaged over, and an evaluation that asks the student alone.

    Args:
        model: The student, any model that returns ``logits``.
        args: The arguments of the run.
        **kwargs: As for ``transformers.Trainer``.

    Raises:
        InputError: Several GPUs were given to one process, or an argument does not fit the task.
    """

    # The losses are already divided by the whole step's counts.
    loss_is_scaled_for_ga = True

    def __init__(self, model: nn.Module | None, args: RunArguments, **kwargs: Any) -> None:
        _check_arguments(args, **kwargs)
        super().__init__(model=model, args=args, **kwargs)
        # Trainer then neither counts items itself nor passes the count to a forward that would ignore it.
        self.model_accepts_loss_kwargs = False
        if args.label_names is None and not self.label_names:
            # A module whose forward takes no labels: the loss is computed here, from the usual column.
            self.label_names = ["labels"]
        student = unwrapped(self.model)
        name_layers_to_shard(self.accelerator, student)
        self._shifts_labels = predicts_next_token(student)
        self._shape = ModelShape.of(student)
        self._is_encoder_decoder = bool(getattr(getattr(student, "config", None), "is_encoder_decoder", False))
        self._student_inputs = forward_parameters(student)
        self._check_label_smoothing(student)
        self._task_loss = HardTargets(label_smoothing=self._label_smoothing)
        self._eval_loss = torch.zeros(2, device=args.device)
        self._eval_dataloader: DataLoader | None = None

    @property
    def _label_smoothing(self) -> float:
        return self.label_smoother.epsilon if self.label_smoother is not None else 0.0

    def _check_label_smoothing(self, student: Any) -> None:
        if self._label_smoothing > 0 and infer_problem_type(student, None) is ProblemType.REGRESSION:
            raise InputError(
                f"label_smoothing_factor is {self._label_smoothing} and the task is regression, which has no "
                "classes to spread a label over; set it to 0."
            )

    # ---- A micro-batch ----

    def _micro_batch(
        self,
        inputs: dict[str, Any],
        totals: ItemCounts | None,
        whole_step: WholeStep,
        projections: Mapping[str, nn.Module],
    ) -> tuple[dict[str, Any], MicroBatch]:
        """The inputs of every model, and what counts in them."""
        student = unwrapped(self.model)
        labels = inputs.get("labels")
        problem_type = self._problem_type(student, labels)
        counted = find_counted_items(inputs, problem_type, self._shifts_labels, self._is_encoder_decoder)
        inputs = {name: value for name, value in inputs.items() if name != EXAMPLE_MASK}
        if self._shifts_labels and labels is not None:
            labels = labels[..., 1:]
        totals = totals if totals is not None else counted.counts()
        batch = MicroBatch(labels, counted, totals, problem_type, self._shape.is_causal, projections, whole_step)
        return with_decoder_inputs(student, inputs), batch

    def _ask_student(self, model: nn.Module, inputs: dict[str, Any], needs: SignalNeeds) -> tuple[Any, Signals]:
        inputs = {name: value for name, value in self._without_foreign_inputs(inputs).items() if name != "labels"}
        outputs, signals = ask(model, unwrapped(self.model), inputs, needs)
        return outputs, signals.for_causal_prediction() if self._shifts_labels else signals

    @property
    def _foreign_inputs(self) -> frozenset[str]:
        """Columns of a batch that another model reads and the student does not."""
        return frozenset()

    def _without_foreign_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        foreign = self._foreign_inputs
        return {name: value for name, value in inputs.items() if name not in foreign}

    def _problem_type(self, student: Any, labels: Tensor | None) -> ProblemType:
        problem_type = infer_problem_type(student, labels)
        if labels is not None and classifies_whole_examples(student) and student.config.problem_type is None:
            # As transformers' heads do at their first loss: pipelines choose between softmax and sigmoid by it.
            student.config.problem_type = problem_type.value
        return problem_type

    # ---- What counts ----

    def _counts_of_step(self, batches: list[dict[str, Any]], device: torch.device) -> ItemCounts:
        """What counts in an optimiser step's micro-batches, over all processes."""
        student = unwrapped(self.model)
        counts = torch.stack([self._count(student, batch) for batch in batches]).sum(0).to(device)
        return ItemCounts(*self.accelerator.reduce(counts, reduction="sum"))

    def _count(self, student: Any, batch: dict[str, Any]) -> Tensor:
        problem_type = infer_problem_type(student, batch.get("labels"))
        counted = find_counted_items(batch, problem_type, self._shifts_labels, self._is_encoder_decoder)
        return torch.stack(counted.counts())

    def _with_example_mask(self, batch: dict[str, Any], dataloader: DataLoader | None) -> dict[str, Any]:
        """Says which rows are not there a second time only to fill the last batch."""
        return {**batch, EXAMPLE_MASK: rows_that_count(batch, dataloader, self.accelerator.process_index)}

    # ---- Evaluation ----

    def _evaluation_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool
    ) -> Tensor | tuple[Tensor, Any]:
        """The student's own task loss, added up for :meth:`evaluation_loop`."""
        inputs = self._with_example_mask(inputs, self._eval_dataloader)
        inputs, batch = self._micro_batch(inputs, None, WholeStep(), {})
        outputs, signals = self._ask_student(model, inputs, NOTHING_ELSE)
        loss = self._task_loss(signals, signals, batch)
        targets = batch.totals.targets
        self._eval_loss += torch.stack([loss.detach().float() * targets, targets])
        return (loss, _outputs_with_loss(outputs, loss)) if return_outputs else loss

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple:
        """Trainer's step, with the student's own inputs also where there are no labels and so no loss."""
        return super().prediction_step(model, self._without_foreign_inputs(inputs), *args, **kwargs)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Trainer's loop; the loss is the average over all targets, not over batches.

        Iterating a loader draws a random number. The global generator is put back, or the dropout of the steps that
        follow would depend on whether an evaluation came between a checkpoint and the resume from it.
        """
        self._eval_loss.zero_()
        self._eval_dataloader = dataloader
        try:
            with torch.random.fork_rng(devices=[]):
                output = super().evaluation_loop(
                    dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
                )
        finally:
            self._eval_dataloader = None
        name = f"{metric_key_prefix}_loss"
        if output.metrics is not None and name in output.metrics:
            total, count = self.accelerator.reduce(self._eval_loss, reduction="sum").tolist()
            output.metrics[name] = total / max(count, 1)
        return output


def _outputs_with_loss(outputs: Any, loss: Tensor) -> Any:
    """Trainer drops the first of a tuple as the loss, but finds a mapping's logits by name."""
    if isinstance(outputs, dict):
        return outputs
    return (loss, outputs) if isinstance(outputs, Tensor) else (loss, *outputs)


def _check_arguments(args: RunArguments, compute_loss_func: Any = None, **kwargs: Any) -> None:
    if not isinstance(args, RunArguments):
        raise InputError(
            f"args is a {type(args).__name__}, which knows no temperature and no weights: pass "
            "DistillationTrainingArguments, which takes everything that TrainingArguments does."
        )
    if args.n_gpu > 1:
        raise InputError(
            f"One process sees {args.n_gpu} GPUs, and DataParallel would average over them wrongly: start one "
            f"process for each with `accelerate launch --num_processes {args.n_gpu} SCRIPT ...`, or set "
            "CUDA_VISIBLE_DEVICES to a single one."
        )
    if compute_loss_func is not None:
        raise InputError(
            "compute_loss_func was given, and the weighted objective would silently take its place: leave it out, or "
            "override compute_loss."
        )
