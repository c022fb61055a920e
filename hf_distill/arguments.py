"""What a run is told: which models, which data, how to distil. Every value is checked before anything is loaded."""

import math
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from hf_distill.errors import InputError

LAYER_SELECTIONS = ("alternate", "spaced", "first", "last")


@dataclass
class ModelArguments:
    """Who teaches and who learns.

    Raises:
        InputError: If a value is out of range, or two values contradict each other.
    """

    _argument_group_name = "teacher and student"

    teacher_name_or_path: str = field(
        default="",
        metadata={
            "help": "The teacher: a folder, a Hub id, or package:PACKAGE/FOLDER for a folder inside an installed "
            "Python package. Required."
        },
    )
    teacher_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a teacher that comes from the Hub."}
    )
    finetune_teacher: bool = field(
        default=False,
        metadata={
            "help": "Train the teacher on the task first, keep it in OUTPUT_DIR/teacher and use it again while "
            "nothing relevant changes. Needed when the teacher's task head was never trained."
        },
    )
    teacher_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of finetune_teacher; unset, the student's learning_rate."}
    )
    teacher_num_train_epochs: float | None = field(
        default=None, metadata={"help": "Epochs of finetune_teacher; unset, the student's num_train_epochs."}
    )
    student_layers: int | list[int] | str | None = field(
        default=None,
        metadata={
            "help": "How many of the teacher's layers the student takes, such as 6, or exactly which, such as "
            "0,2,4,7,9,11 (counted from 0)."
        },
    )
    layer_selection: str = field(
        default="alternate",
        metadata={
            "help": "Which layers a number of student_layers takes: every second one from the first (alternate), "
            "spread out with the first and last kept (spaced), the first ones or the last ones.",
            "choices": list(LAYER_SELECTIONS),
        },
    )
    student_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Start from this checkpoint (folder, Hub id or package:...) instead of the teacher's layers."
        },
    )
    student_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a student that comes from the Hub."}
    )
    baseline: bool = field(
        default=False,
        metadata={"help": "Also fine-tune the same student without the teacher, and compare with that too."},
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run model code that a repository brings along. Only for sources you trust."}
    )

    def __post_init__(self) -> None:
        """Read `student_layers` and refuse what cannot work."""
        if not self.teacher_name_or_path:
            raise InputError(
                "teacher_name_or_path is not set, and without a teacher there is nothing to distil; "
                "give a folder or a Hub id."
            )
        self.student_layers = parse_student_layers(self.student_layers)
        if self.layer_selection not in LAYER_SELECTIONS:
            raise InputError(
                f"layer_selection is {self.layer_selection!r}, which is no selection; "
                f"use one of {', '.join(LAYER_SELECTIONS)}."
            )
        self._check_one_student()
        for name in ("teacher_learning_rate", "teacher_num_train_epochs"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}, with which nothing can be learnt; use a number above 0.")

    def _check_one_student(self) -> None:
        if self.student_name_or_path is None:
            if self.student_revision is not None:
                raise InputError(
                    "student_revision is set but student_name_or_path is not, so there is nothing that it could be a "
                    "revision of; set both or neither."
                )
        elif self.student_layers is not None:
            raise InputError(
                f"student_layers is {self.student_layers} and student_name_or_path is {self.student_name_or_path!r}, "
                "which are two different students; keep one of them."
            )
        if self.layer_selection != "alternate" and (self.layers or self.student_name_or_path):
            raise InputError(
                f"layer_selection is {self.layer_selection!r} but the student's layers are already given, so there is "
                "nothing to select; set student_layers to a number, or leave layer_selection out."
            )

    @property
    def num_layers(self) -> int | None:
        """The number of layers asked for, None if it was left open or the layers were listed."""
        return self.student_layers if isinstance(self.student_layers, int) else None

    @property
    def layers(self) -> list[int] | None:
        """The layers that were listed, None if they were not."""
        return self.student_layers if isinstance(self.student_layers, list) else None


def parse_student_layers(value: int | list[int] | str | None) -> int | list[int] | None:
    """Read ``6`` or ``"6"`` as a number of layers, ``[0, 2, 4]`` or ``"0,2,4"`` as their indices.

    Raises:
        InputError: If the text is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        return [int(part) for part in value.split(",") if part.strip()] if "," in value else int(value)
    except ValueError:
        raise InputError(
            f"student_layers is {value!r}, which is neither a number of layers nor a list of them; "
            "write 6, or 0,2,4,7,9,11."
        ) from None


@dataclass
class DataArguments:
    """Which rows are learnt from, and which are held back to compare on.

    Raises:
        InputError: If there is no source of rows, or more than one, or a number is out of range.
    """

    _argument_group_name = "data"

    task_name: str | None = field(
        default=None,
        metadata={
            "help": "A task known by name: one of GLUE's nine (cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb, wnli) or "
            "rotten_tomatoes."
        },
    )
    dataset_name: str | None = field(default=None, metadata={"help": "Any text classification data set on the Hub."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "The configuration of dataset_name."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "A folder with GLUE's own TSV files, to read task_name from there instead of the Hub."},
    )
    train_file: str | None = field(
        default=None, metadata={"help": "Your own rows to learn from: a CSV, TSV or JSONL file."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Your own rows to compare on, in the format of train_file."}
    )
    text_column: str | None = field(default=None, metadata={"help": "The column that holds the text."})
    text_pair_column: str | None = field(
        default=None, metadata={"help": "The column that holds the second text, for tasks on pairs of texts."}
    )
    label_column: str | None = field(default=None, metadata={"help": "The column that holds the label."})
    max_seq_length: int = field(
        default=128, metadata={"help": "Texts of more tokens than this are cut, and the cut ones counted."}
    )
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Learn from no more rows than this; unset, from all."}
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Compare on no more rows than this for each split; unset, on all."}
    )

    def __post_init__(self) -> None:
        """Refuse numbers below 1 and anything but one source of rows."""
        for name in ("max_seq_length", "max_train_samples", "max_eval_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, which leaves nothing to learn from; use 1 or more.")
        given = [name for name in ("task_name", "dataset_name", "train_file") if getattr(self, name) is not None]
        if not given:
            raise InputError(
                "No data was named; set task_name (such as sst2), dataset_name (a data set on the Hub) or train_file "
                "(your own rows)."
            )
        if len(given) > 1:
            raise InputError(
                f"{' and '.join(given)} are set, but rows can come from one source only; keep one of them."
            )


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


def parse_resume(value: str | bool | None) -> str | bool | None:
    """Read ``"true"`` as True (the last complete checkpoint), ``"false"`` as None, and leave a path as it is."""
    if isinstance(value, str) and value.lower() in ("true", "yes"):
        return True
    if not value or (isinstance(value, str) and value.lower() in ("false", "no")):
        return None
    return value
