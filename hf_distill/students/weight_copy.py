"""Filling a student with copies of its teacher's tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.errors import InputError

logger = logging.get_logger(__name__)


def copy_weights(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    origin_of: Callable[[str], str],
    narrowed: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor,
) -> None:
    """Gives every parameter and buffer of ``student`` a copy of the teacher's tensor that ``origin_of`` names.

    The copies have the teacher's dtypes and devices and share no memory with it; tensors that the teacher ties are
    tied in the student. A teacher spread over several devices gives a student on the CPU.

    Args:
        teacher: Left as it is.
        student: A skeleton on the ``meta`` device, filled in place.
        origin_of: From the name of a tensor of the student to its name in the teacher.
        narrowed: From a name in the teacher and its tensor there to the student's values.

    Raises:
        InputError: The teacher has no tensor of such a shape: one outside the layers changes with their number.
    """
    originals = dict(_named_tensors(teacher))
    devices = {tensor.device for tensor in originals.values()}
    device = next(iter(devices)) if len(devices) == 1 else torch.device("cpu")
    if len(devices) > 1:
        logger.info("The teacher is spread over several devices; the student is built on the CPU.")
    copies: dict[int, Tensor] = {}
    for name, placeholder in list(_named_tensors(student)):
        original = originals.get(origin_of(name))
        if original is not None and id(original) not in copies:
            copy = narrowed(origin_of(name), original.detach()).to(device, copy=True)
            is_parameter = isinstance(placeholder, nn.Parameter)
            copies[id(original)] = nn.Parameter(copy, placeholder.requires_grad) if is_parameter else copy
        copy_shape = None if original is None else copies[id(original)].shape
        if copy_shape is None or (isinstance(placeholder, nn.Parameter) and copy_shape != placeholder.shape):
            found = "missing" if copy_shape is None else tuple(copy_shape)
            raise InputError(
                f"{name} in the student has the shape {tuple(placeholder.shape)}, and in the teacher it is {found}: "
                "it depends on the number of layers, so it cannot be copied; use another model as the student"
            )
        owner, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(owner), leaf, copies[id(original)])


def _named_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
