"""Whether the teacher answers once, before training, or at every step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from hf_distill.errors import InputError

STORAGE_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class TeacherCacheArguments:
    """Where the teacher's answers are kept, so that every epoch and every later run reads them.

    Raises:
        InputError: If a value is out of range, or two values contradict each other.
    """

    _argument_group_name = "teacher cache"

    teacher_cache_dir: str | None = field(
        default=None,
        metadata={
            "help": "Let the teacher answer each row once, before training, and keep that in this folder; true: in "
            "OUTPUT_DIR/teacher_cache; false: let it answer at every step. Unset, true where several epochs would ask "
            "it again and it is not sharded, unless hidden states would have to be stored.",
            "nargs": "?",
            "const": "true",
        },
    )
    teacher_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rows that the teacher answers at once while the cache is made; unset, as many as fit on a GPU, "
            "and 32 on a CPU."
        },
    )
    teacher_cache_dtype: str = field(
        default="fp32",
        metadata={
            "help": "How answers are stored: as they were computed (fp32), or in half the space with a relative error "
            "of up to 2^-11 (fp16) or 2^-8 (bf16).",
            "choices": list(STORAGE_DTYPES),
        },
    )
    overwrite_teacher_cache: bool = field(
        default=False, metadata={"help": "Make the cache anew, even if teacher_cache_dir holds one."}
    )

    def __post_init__(self) -> None:
        """Read true and false, and refuse what cannot work."""
        word = self.teacher_cache_dir.lower() if self.teacher_cache_dir is not None else None
        if word in ("true", "yes", "false", "no"):
            self.teacher_cache_dir = "true" if word in ("true", "yes") else "false"
        if self.teacher_batch_size is not None and self.teacher_batch_size < 1:
            raise InputError(
                f"teacher_batch_size is {self.teacher_batch_size}, which is no row at all; use 1 or more."
            )
        if self.teacher_cache_dtype not in STORAGE_DTYPES:
            raise InputError(
                f"teacher_cache_dtype is {self.teacher_cache_dtype!r}; use one of {', '.join(STORAGE_DTYPES)}."
            )
        if self.overwrite_teacher_cache and self.teacher_cache_dir == "false":
            raise InputError(
                "overwrite_teacher_cache is set and teacher_cache_dir is false, so there is no cache to overwrite; "
                "leave one of them out."
            )

    @property
    def storage_dtype(self) -> torch.dtype:
        """How answers are stored."""
        return STORAGE_DTYPES[self.teacher_cache_dtype]
