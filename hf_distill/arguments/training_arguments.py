"""How a run trains."""

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from hf_distill.arguments.objective_arguments import ObjectiveArguments
from hf_distill.objectives import DistillationObjective, HardTargets, Stages


@dataclass
class RunArguments(TrainingArguments):
    """How to train: everything that `transformers.TrainingArguments` takes, with defaults that fit."""

    _argument_group_name = "run"

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

    def objective(self, label_smoothing: float = 0.0) -> Stages:
        """What the student learns from: here, the labels alone.

        Args:
            label_smoothing: Of the hard targets.
        """
        return Stages.of(DistillationObjective([HardTargets(label_smoothing=label_smoothing)]))

    def __post_init__(self) -> None:
        """Let `TrainingArguments` check and set up."""
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
class DistillationTrainingArguments(ObjectiveArguments, RunArguments):
    """How to distil: everything that `transformers.TrainingArguments` takes, and the weighted objective.

    Raises:
        InputError: If the objective has a value out of range.
    """

    _argument_group_name = "objective and training"

    def __post_init__(self) -> None:
        """Check the objective, then let `TrainingArguments` check and set up the rest."""
        self.objective()
        super().__post_init__()


@dataclass
class FineTuningArguments(RunArguments):
    """How to train on labels alone."""

    _argument_group_name = "training"
