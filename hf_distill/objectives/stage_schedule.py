"""The learning rate of a training in stages: it warms up and decays in each."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import SchedulerType, TrainingArguments, get_scheduler

from hf_distill.errors import InputError
from hf_distill.objectives.stages import Stages


def scheduler_of_stages(
    stages: Stages, args: TrainingArguments, optimizer: torch.optim.Optimizer, max_steps: int
) -> LambdaLR:
    """The schedule that ``args`` names, once for each stage, from the stage's own learning rate.

    Args:
        stages: Their shares of the training and their learning rates.
        args: Name the schedule and its warm-up, a share of a stage or a number of steps of it.
        optimizer: At ``args.learning_rate``.
        max_steps: Of the whole training.

    Raises:
        InputError: The schedule depends on more than the step, or ``args.learning_rate`` is 0 and a stage's is not.
    """
    boundaries = stages.boundaries(max_steps)
    for stage, begin, end in zip(stages.stages, boundaries[:-1], boundaries[1:], strict=True):
        if end <= begin:
            raise InputError(
                f"The training has {max_steps} steps, of which {stage.name or 'a stage'} with its share of "
                f"{stage.share:g} gets none: give it a larger share, or train for longer."
            )
    given: Any = args.lr_scheduler_kwargs or {}
    factors = []
    for stage, begin, end in zip(stages.stages, boundaries[:-1], boundaries[1:], strict=True):
        rate = stage.learning_rate if stage.learning_rate is not None else args.learning_rate
        if rate > 0 and args.learning_rate == 0:
            raise InputError(
                f"learning_rate is 0 and a stage's is {rate}, which is a multiple of it; set learning_rate above 0."
            )
        # A schedule may have a lowest rate, which depends on the highest.
        probe = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        steps, options = end - begin, dict(given)
        scheduler: Any = get_scheduler(args.lr_scheduler_type, probe, args.get_warmup_steps(steps), steps, options)
        if not isinstance(scheduler, LambdaLR):
            raise InputError(
                f"lr_scheduler_type is {SchedulerType(args.lr_scheduler_type).value}, which cannot be started anew "
                "for each stage; use linear, cosine or constant_with_warmup."
            )
        factors.append((begin, scheduler.lr_lambdas[0], rate / args.learning_rate if rate > 0 else 0.0))

    def factor(step: int) -> float:
        begin, within_stage, of_rate = factors[stages.number_at(step, max_steps)]
        return of_rate * within_stage(step - begin)

    return LambdaLR(optimizer, factor)
