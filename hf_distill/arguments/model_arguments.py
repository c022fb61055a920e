"""Which models a run starts from."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from hf_distill.errors import InputError
from hf_distill.students.architectures import ARCHITECTURES
from hf_distill.students.layer_selection import LAYER_SELECTIONS

STUDENT_INITS = ("teacher", "pretrained", "random")
CNN = "cnn"
STUDENT_ARCHITECTURES = (*ARCHITECTURES, CNN)
_CHOICES: dict[str, Collection[str]] = {
    "layer_selection": LAYER_SELECTIONS,
    "student_architecture": STUDENT_ARCHITECTURES,
    "student_init": STUDENT_INITS,
}
_OF_TEACHER = {
    "student_layers": None,
    "student_architecture": "same",
    "student_hidden_size": None,
    "student_num_attention_heads": None,
    "student_intermediate_size": None,
}
"""What describes a student made of its teacher, with the values that stand for unset."""


@dataclass
class ModelArguments:
    """Who teaches and who learns.

    Raises:
        InputError: If a value is out of range, or two values contradict each other.
    """

    _argument_group_name = "teacher and student"

    teacher_name_or_path: str | list[str] = field(
        default="",
        metadata={
            "help": "The teacher: a folder, a Hub id, or package:PACKAGE/FOLDER for a folder inside an installed "
            "Python package; or several, whose soft targets are averaged, the first of which gives the student its "
            "layers. Required."
        },
    )
    teacher_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the first teacher, where it comes from the Hub."}
    )
    teacher_weights: list[float] | None = field(
        default=None, metadata={"help": "How much each of several teachers counts; unset, all alike."}
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
            "0,2,4,7,9,11 (counted from 0); unset, half of them."
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
    student_config_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Build the student from this configuration alone (folder, Hub id or package:...), of any shape "
            "and with random weights; with student_init teacher a student for texts takes the teacher's embeddings of "
            "the tokens that both know. Without a tokenizer of its own it reads with the teacher's."
        },
    )
    student_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a student that comes from the Hub."}
    )
    student_architecture: str = field(
        default="same",
        metadata={
            "help": "The class of a student made of the teacher's layers: the teacher's own (same), or the one in "
            "which its family was distilled (distil: DistilBERT for a BERT; a RoBERTa stays one), which has no token "
            "types; distil_folded adds the first of them to the positions, so that single texts lose nothing. "
            "Or another one altogether: student_layers convolutions (unset, 6) over its token embeddings (cnn).",
            "choices": list(STUDENT_ARCHITECTURES),
        },
    )
    student_hidden_size: int | None = field(
        default=None,
        metadata={
            "help": "Width of a student made of the teacher's layers, if smaller: the principal directions of the "
            "teacher's hidden states on some training rows are kept. Of a cnn, its number of channels."
        },
    )
    student_num_attention_heads: int | None = field(
        default=None,
        metadata={
            "help": "Heads in each of its layers: those that matter most on some training rows. Unset, they follow "
            "student_hidden_size where the head size is the width divided by the heads (BERT)."
        },
    )
    student_intermediate_size: int | None = field(
        default=None,
        metadata={"help": "Feed-forward neurons in each of its layers: those that matter most on some training rows."},
    )
    student_init: str = field(
        default="teacher",
        metadata={
            "help": "The student's first weights: the teacher's, as far as the student is made of them (teacher), "
            "those that it had before finetune_teacher (pretrained), or drawn anew in the same shape (random).",
            "choices": list(STUDENT_INITS),
        },
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
        if not self.teacher_names or not all(self.teacher_names):
            raise InputError(
                "teacher_name_or_path is not set, and without a teacher there is nothing to distil; "
                "give a folder or a Hub id."
            )
        self.student_layers = parse_student_layers(self.student_layers)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}, which is no such choice; use one of {', '.join(known)}."
                )
        self._check_one_student()
        self._check_several_teachers()
        for name in ("teacher_learning_rate", "teacher_num_train_epochs"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}, with which nothing can be learnt; use a number above 0.")

    def _check_one_student(self) -> None:
        named = {
            name: getattr(self, name)
            for name in ("student_name_or_path", "student_config_name_or_path")
            if getattr(self, name) is not None
        }
        if not named and self.student_revision is not None:
            raise InputError(
                "student_revision is set but student_name_or_path and student_config_name_or_path are not, so there "
                "is nothing that it could be a revision of; set one of them too, or none."
            )
        of_teacher = {name: getattr(self, name) for name, unset in _OF_TEACHER.items() if getattr(self, name) != unset}
        settings = [f"{name} is {value!r}" for name, value in {**named, **of_teacher}.items()]
        if named and len(settings) > 1:
            raise InputError(f"{settings[0]} and {settings[1]}, which are two different students; keep one of them.")
        if self.layer_selection != "alternate" and (self.layers or named):
            raise InputError(
                f"layer_selection is {self.layer_selection!r} but the student's layers are already given, so there is "
                "nothing to select; set student_layers to a number, or leave layer_selection out."
            )
        if self.student_init == "random" and self.student_name_or_path is not None:
            raise InputError(
                f"student_init is 'random' and student_name_or_path is {self.student_name_or_path!r}, whose weights "
                "would be thrown away; name it in student_config_name_or_path, or leave student_init out."
            )
        if self.student_init == "pretrained" and (named or not self.finetune_teacher):
            reason = "finetune_teacher is not set" if not named else f"{settings[0]}"
            raise InputError(
                f"student_init is 'pretrained' and {reason}, so there are no layers of the teacher from before its "
                "fine-tuning to start from; leave student_init out."
            )
        for name, value in self.student_widths.items():
            if value < 1:
                raise InputError(f"student_{name} is {value}, which leaves nothing; use a number from 1 up.")
        if self.student_architecture == CNN:
            self._check_cnn()

    def _check_cnn(self) -> None:
        """A convolution is none of the teacher's layers, and has neither heads nor a feed-forward part."""
        if self.num_layers is not None and self.num_layers < 1:
            raise InputError(f"student_layers is {self.num_layers}, which leaves no convolution; use 1 or more.")
        unfit = {
            "layer_selection": None if self.layer_selection == "alternate" else self.layer_selection,
            "student_layers": self.layers,
            "student_num_attention_heads": self.student_num_attention_heads,
            "student_intermediate_size": self.student_intermediate_size,
            "student_init": None if self.student_init == "teacher" else self.student_init,
        }
        for name, value in unfit.items():
            if value is not None:
                raise InputError(
                    f"student_architecture is {CNN!r} and {name} is {value!r}, which says nothing of a convolutional "
                    "network; leave it out, and set student_layers to a number of convolutions."
                )

    def _check_several_teachers(self) -> None:
        teachers = len(self.teacher_names)
        if self.teacher_weights is not None:
            if len(self.teacher_weights) != teachers:
                raise InputError(
                    f"teacher_weights holds {len(self.teacher_weights)} numbers for {teachers} teachers; give one for "
                    "each."
                )
            if not all(math.isfinite(weight) and weight > 0 for weight in self.teacher_weights):
                raise InputError(
                    f"teacher_weights is {self.teacher_weights}, and a teacher must count for something; use numbers "
                    "above 0, and leave out teachers that should not count."
                )
        if teachers > 1 and self.finetune_teacher:
            raise InputError(
                f"finetune_teacher is set and there are {teachers} teachers; it trains a single one. Run it for each "
                "alone, and then name the folders OUTPUT_DIR/teacher that it leaves."
            )

    @property
    def teacher_names(self) -> list[str]:
        """The teachers, one or several."""
        names = self.teacher_name_or_path
        return [names] if isinstance(names, str) else names

    @property
    def student_widths(self) -> dict[str, int]:
        """The widths asked of a student made of the teacher's layers, as `create_student` takes them."""
        names = ("hidden_size", "num_attention_heads", "intermediate_size")
        asked = {name: getattr(self, f"student_{name}") for name in names}
        return {name: value for name, value in asked.items() if value is not None}

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
class StudentArguments:
    """Which finished student goes on learning.

    Raises:
        InputError: If no student is named.
    """

    _argument_group_name = "student"

    student_name_or_path: str = field(
        default="",
        metadata={"help": "The student: a folder, a Hub id, or package:PACKAGE/FOLDER. Required."},
    )
    student_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a student that comes from the Hub."}
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run model code that a repository brings along. Only for sources you trust."}
    )

    def __post_init__(self) -> None:
        """Refuse to start from nothing."""
        if not self.student_name_or_path:
            raise InputError(
                "student_name_or_path is not set, so there is nothing to fine-tune; give a folder or a Hub id."
            )
