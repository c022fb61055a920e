"""A model of the same class with a narrower stream, fewer heads and fewer feed-forward neurons."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import build_skeleton
from hf_distill.students.stream_basis import find_stream_basis
from hf_distill.students.unit_importance import importance_by_gradient, importance_by_weights
from hf_distill.students.weight_axes import Axis, UnitGroup, find_weight_axes
from hf_distill.students.weight_copy import copy_weights
from hf_distill.students.widths import Widths


def narrow(
    model: PreTrainedModel,
    hidden_size: int | None = None,
    num_attention_heads: int | None = None,
    intermediate_size: int | None = None,
    calibration: Mapping[str, Tensor] | None = None,
) -> PreTrainedModel:
    """The model with as many layers and less in each; widths left out, or equal to the model's, stay.

    Of the heads and neurons of each layer, and of the features between the two layers of a classification head, the
    most important are kept unchanged (see ``unit_importance``). The residual stream is turned to its principal
    directions, of which the first are kept (see ``StreamBasis``), and so is every weight that reads from it or writes
    to it. What the rest carried is lost, and scales of norms become means: the result is a start for training.

    Args:
        model: Left as it is.
        hidden_size: The new width.
        num_attention_heads: How many heads each layer keeps; left out, they follow the width where the head size is
            the width divided by the heads (BERT), and stay elsewhere (Llama).
        intermediate_size: How many feed-forward neurons each layer keeps.
        calibration: A batch with labels, as the model's forward takes it. Without it, heads and neurons are chosen by
            the size of their weights and the stream's directions are those of the embeddings.

    Raises:
        InputError: The widths do not fit the model or one another, it is not clear what a dimension of a weight
            holds, or the batch gives no loss.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=1, hidden_size=32, num_attention_heads=4))
        >>> narrow(model, hidden_size=16).config.num_attention_heads
        2
    """
    if calibration is not None and hidden_size is num_attention_heads is intermediate_size is None:
        raise InputError("calibration was given and no width, so there is nothing to choose by it; give a width too")
    before = Widths.of(model.config)
    after = before.narrowed(hidden_size, num_attention_heads, intermediate_size)
    axes = find_weight_axes(model, before, after)
    select = _unit_selection(model, axes.groups, calibration)
    turn = _stream_turn(model, axes.stream, after.hidden_size, calibration)
    student = build_skeleton(type(model), after.put_into(model.config))
    copy_weights(model, student, lambda name: name, lambda name, tensor: turn(name, select(name, tensor)))
    if model.can_generate():
        student.generation_config = copy.deepcopy(model.generation_config)
    return student.eval()


def _unit_selection(
    model: PreTrainedModel, groups: Sequence[UnitGroup], calibration: Mapping[str, Tensor] | None
) -> Callable[[str, Tensor], Tensor]:
    """What takes from a weight, given by name and tensor, the units that matter most."""
    if not groups:
        return lambda _, tensor: tensor
    if calibration is None:
        importances = importance_by_weights(model, groups)
    else:
        importances = importance_by_gradient(model, groups, calibration)
    kept: dict[str, list[tuple[int, int, Tensor]]] = {}
    for group, importance in zip(groups, importances, strict=True):
        best = importance.argsort(descending=True, stable=True)[: group.kept].sort().values
        for name, axis in group.axes:
            kept.setdefault(name, []).append((axis, group.total, best))

    def select(name: str, tensor: Tensor) -> Tensor:
        for axis, total, best in kept.get(name, ()):
            by_unit = tensor.unflatten(axis, (total, -1)).index_select(axis, best.to(tensor.device))
            tensor = by_unit.flatten(axis, axis + 1)
        return tensor

    return select


def _stream_turn(
    model: PreTrainedModel, stream: Collection[Axis], width: int, calibration: Mapping[str, Tensor] | None
) -> Callable[[str, Tensor], Tensor]:
    """What expresses a weight, given by name and tensor, in the directions of the stream that are kept."""
    if not stream:
        return lambda _, tensor: tensor
    norms = _norms_of_stream(model, stream)
    subtracts_mean = any(isinstance(norm, nn.LayerNorm) for norm in norms.values())
    basis = find_stream_basis(model, width, calibration, subtracts_mean)
    scales = {f"{name}.weight" for name in norms}

    def turn(name: str, tensor: Tensor) -> Tensor:
        for axis in range(tensor.dim()):
            if (name, axis) in stream:
                tensor = basis.project_scale(tensor) if name in scales else basis.project(tensor, axis)
        return tensor

    return turn


def _norms_of_stream(model: PreTrainedModel, stream: Collection[Axis]) -> dict[str, nn.Module]:
    """The norms that the stream passes through, each of which multiplies it by its ``weight``.

    Raises:
        InputError: One does not: Gemma's multiply by 1 + weight.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if "Norm" in type(module).__name__ and (f"{name}.weight", 0) in stream
    }
    for name, norm in norms.items():
        shut = copy.deepcopy(norm)
        with torch.no_grad():
            for parameter in shut.parameters():
                parameter.zero_()
            vector = torch.ones_like(shut.get_parameter("weight"))
            vector[0] = -1
            if shut(vector[None]).any():
                raise InputError(
                    f"{name} of {type(model).__name__} does not multiply by its weight alone, so its scale cannot be "
                    "carried over to a narrower model; leave hidden_size out"
                )
    return norms
