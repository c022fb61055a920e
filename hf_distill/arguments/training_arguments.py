"""How a run trains."""

import math
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from hf_distill.errors import InputError


@dataclass
class DistillationTrainingArguments(TrainingArguments):
    """How to distil: everything that `transformers.TrainingArguments` takes, and the weighted objective.

    The objective is ``hard_target_weight`` · task loss + ``soft_target_weight`` · T² · KL(teacher ‖ student) +
    ``hidden_state_weight`` · cosine distance of the last hidden states.

    Raises:
        InputError: If the temperature or a weight is out of range.
    """

    _argument_group_name = "distillation"

    temperature: float = field(
        default=2.0,
        metadata={
            "help": "T, above 0: both models' scores are divided by it before they are compared, so that a higher "
            "one shows more of how the teacher ranks the wrong answers."
        },
    )
    soft_target_weight: float = field(
        default=0.5, metadata={"help": "Weight of the teacher's soft targets (T² times the KL divergence); 0 or more."}
    )
    hard_target_weight: float = field(
        default=0.5, metadata={"help": "Weight of the labels' own loss; 0 or more. At 0, no labels are needed."}
    )
    hidden_state_weight: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the cosine distance between the two models' last hidden states at attended positions; "
            "0 or more."
        },
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={
            "help": "The order of the training rows. group_by_length puts rows of similar length into one step, drawn "
            "anew for every epoch, so that hardly any of a batch is padding; rows without known lengths are shuffled. "
            "random shuffles all of them, sequential keeps their own order.",
            "choices": ["group_by_length", "random", "sequential", "batch_rebalance"],
        },
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Replace the run that output_dir holds. A teacher there that still fits is kept and used again."
        },
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={
            "help": "Log NaN and infinite losses as if they were not there. Off, unlike in transformers: it would "
            "hide weights that are lost, and it synchronises the device at every step."
        },
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True,
        metadata={
            "help": "Take over what the callbacks of a checkpoint remember, such as how much patience early stopping "
            "has left, when resuming. On, unlike in transformers: without it a resumed run trains for longer than an "
            "uninterrupted one. Off, to go on with other settings of early stopping."
        },
    )
    push_to_hub: bool = field(
        default=False,
        metadata={"help": "Push the finished student with its tokenizer, card and report, once, at the end."},
    )
    # TrainingArguments declares `str | None`, which a subclass may not widen to the `str | bool | None` it is here.
    resume_from_checkpoint: Any = field(
        default=None,
        metadata={
            "help": "Go on from this checkpoint folder; alone or true, from the last complete one in output_dir.",
            "nargs": "?",
            "const": "true",
        },
    )

    def __post_init__(self) -> None:
        """Check the objective, then let `TrainingArguments` check and set up the rest."""
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(
                f"temperature is {self.temperature}, and scores cannot be divided by that; use a number above 0, "
                "usually 1 to 10."
            )
        weights = ("soft_target_weight", "hard_target_weight", "hidden_state_weight")
        for name in weights:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(
                    f"{name} is {value}, which would push the student away from its target; use 0 or more."
                )
        if not any(getattr(self, name) for name in weights):
            raise InputError(f"{', '.join(weights)} are all 0, so there is nothing to learn; set one of them above 0.")
        self.resume_from_checkpoint = parse_resume(self.resume_from_checkpoint)
        super().__post_init__()
        if self.device.type == "cpu":
            # There is no device memory to copy to, and PyTorch warns of pinning at every epoch.
            self.dataloader_pin_memory = False


def parse_resume(value: str | bool | None) -> str | bool | None:
    """Read ``"true"`` as True (the last complete checkpoint), ``"false"`` as None, and leave a path as it is."""
    if isinstance(value, str) and value.lower() in ("true", "yes"):
        return True
    if not value or (isinstance(value, str) and value.lower() in ("false", "no")):
        return None
    return value


@dataclass
class FineTuningArguments(DistillationTrainingArguments):
    """How to train on labels alone: the objective is the task's own loss, and nothing of it can be set."""

    _argument_group_name = "output folder"

    temperature: float = field(default=1.0, init=False)
    soft_target_weight: float = field(default=0.0, init=False)
    hard_target_weight: float = field(default=1.0, init=False)
    hidden_state_weight: float = field(default=0.0, init=False)
