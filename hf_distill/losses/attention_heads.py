"""Which heads of two attentions are compared with which."""

from torch import Tensor

from hf_distill.errors import InputError


def check_attention_maps(student_maps: Tensor, teacher_maps: Tensor, heads: str) -> None:
    """Check that two sets of maps can be compared.

    Args:
        student_maps: ``(batch, heads, queries, keys)``.
        teacher_maps: The same of the teacher.
        heads: ``each`` compares head by head, ``sum`` compares all heads of one model with all of the other.

    Raises:
        InputError: The maps are of different tokens, their heads cannot be paired, or ``heads`` is unknown.
    """
    if heads not in ("each", "sum"):
        raise InputError(f"heads is {heads!r}; use each, to compare head by head, or sum, to compare all as one.")
    found = f"The student's attention is {tuple(student_maps.shape)} and the teacher's {tuple(teacher_maps.shape)}"
    if student_maps.shape[0] != teacher_maps.shape[0] or student_maps.shape[-2:] != teacher_maps.shape[-2:]:
        raise InputError(
            f"{found}: both must be of the same tokens. Use one tokenizer and one maximum length for both."
        )
    if heads == "each" and student_maps.shape[1] != teacher_maps.shape[1]:
        raise InputError(
            f"{found}, with {student_maps.shape[1]} and {teacher_maps.shape[1]} heads, which cannot be compared head "
            "by head: set heads to sum, or use relations, which cut both into as many relation heads."
        )
