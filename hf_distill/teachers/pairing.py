"""Checks before training that a teacher can teach a student at all."""

from __future__ import annotations

from typing import Any

from torch import nn

from hf_distill.errors import InputError
from hf_distill.teachers.label_matching import label_names, match_labels


def check_pair(student: nn.Module, teacher: nn.Module, tokenizer: Any = None) -> list[int] | None:
    """Check that classes and vocabularies fit.

    Args:
        student: Unwrapped.
        teacher: Its teacher.
        tokenizer: What makes the input ids of both; None if unknown.

    Returns:
        The teacher's class for each of the student's classes, None if they are in the same order.

    Raises:
        InputError: They do not fit; the message says in what.
    """
    if teacher is student:
        raise InputError(
            "teacher_model and model are the same object, which freezing the teacher would freeze: pass a copy "
            "(copy.deepcopy(model)) as the teacher."
        )
    _check_nothing_is_shared(student, teacher)
    _check_vocabulary(teacher, tokenizer)
    if is_classifier(student) and is_classifier(teacher):
        return match_labels(label_names(student), label_names(teacher))
    return None


def read_alike(tokenizer: Any, other: Any, texts: list[str], pairs: list[str] | None = None) -> bool:
    """Whether two tokenizers have the same vocabulary and cut these texts into the same tokens.

    Args:
        tokenizer: Of one model.
        other: Of another; equal vocabularies may still differ in lower-casing or in special tokens.
        texts: A sample of what they are to read.
        pairs: The second texts, for tasks on pairs.
    """
    if tokenizer.get_vocab() != other.get_vocab():
        return False
    first, second = (reader(texts, pairs, truncation=False, verbose=False) for reader in (tokenizer, other))
    return first["input_ids"] == second["input_ids"]


def is_classifier(model: nn.Module) -> bool:
    """Whether a model's logits are classes with names, of whole examples or of tokens."""
    return "Classification" in (getattr(model, "loss_type", None) or "")


def _check_nothing_is_shared(student: nn.Module, teacher: nn.Module) -> None:
    of_teacher = {id(weight) for weight in teacher.parameters()}
    shared = [name for name, weight in student.named_parameters() if id(weight) in of_teacher]
    if shared:
        raise InputError(
            f"The student shares {len(shared)} weights with its teacher (such as {shared[0]}), which freezing the "
            "teacher would freeze in both: give the student a copy of them."
        )


def _check_vocabulary(teacher: Any, tokenizer: Any) -> None:
    # Models for images have no such embeddings, and some of them raise when they are asked.
    if not hasattr(tokenizer, "get_vocab") or not hasattr(teacher, "get_input_embeddings"):
        return
    size = getattr(teacher.get_input_embeddings(), "num_embeddings", None)
    if size is None:
        return
    largest = max(tokenizer.get_vocab().values())
    if largest >= size:
        raise InputError(
            f"The tokenizer's ids go up to {largest} and the teacher knows {size} tokens, so it has another "
            "vocabulary; use a teacher and a student with the same tokenizer."
        )
