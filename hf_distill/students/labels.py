"""The order of the classes in a head that was copied from a teacher."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import build_skeleton


def reorder_labels(model: PreTrainedModel, label_names: Sequence[str]) -> None:
    """Numbers the classes of ``model`` so that class ``i`` is ``label_names[i]``, in place.

    The rows of the head move with their class, so the model says the same about every example: new logit ``i`` is
    the old logit of the class with that name. ``id2label`` and ``label2id`` take ``label_names`` as they are spelt.
    Nothing moves when the order is right already.

    Args:
        model: A model with a classification head of ``len(label_names)`` classes.
        label_names: The names in the model's ``id2label`` in another order, upper and lower case aside.

    Raises:
        InputError: The names are not those of the model, or it has no such head.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(num_hidden_layers=1, hidden_size=32, num_attention_heads=4)
        >>> config.id2label = {0: "NEGATIVE", 1: "POSITIVE"}
        >>> model = BertForSequenceClassification(config)
        >>> reorder_labels(model, ["positive", "negative"])
        >>> model.config.id2label
        {0: 'positive', 1: 'negative'}
    """
    order = _order_of(label_names, [name for _, name in sorted((model.config.id2label or {}).items())])
    if order != sorted(order):
        tensors = model.state_dict(keep_vars=True)
        axes = find_label_axes(model)
        if not axes:
            raise InputError(
                f"{type(model).__name__} has no classification head, so it has no classes to renumber; "
                "load the model with AutoModelForSequenceClassification or another class with a head"
            )
        dimensions = {id(tensors[name]): (tensors[name], axis) for name, axis in axes.items()}
        with torch.no_grad():
            for tensor, axis in dimensions.values():
                tensor.copy_(tensor.index_select(axis, torch.tensor(order, device=tensor.device)))
    model.config.id2label = dict(enumerate(label_names))
    model.config.label2id = {name: index for index, name in enumerate(label_names)}


def _order_of(label_names: Sequence[str], current_names: Sequence[str]) -> list[int]:
    wanted = [str(name).casefold() for name in label_names]
    current = [str(name).casefold() for name in current_names]
    if sorted(wanted) != sorted(current):
        raise InputError(
            f"the labels {list(label_names)} are not the model's {list(current_names)} in another order; "
            "give the model's names, each once"
        )
    if len(set(wanted)) < len(wanted):
        raise InputError(
            f"the labels {list(label_names)} repeat a name (upper and lower case aside), so they cannot tell the "
            "classes apart; give every class its own name"
        )
    return [current.index(name) for name in wanted]


def find_label_axes(model: PreTrainedModel) -> dict[str, int]:
    """For each tensor with one entry per class, the axis of the classes: the one that grows with ``num_labels``.

    Raises:
        InputError: A tensor grows with them in another way.
    """
    config, wider_config = copy.deepcopy(model.config), copy.deepcopy(model.config)
    num_labels = len(config.id2label or {})
    wider_config.num_labels = num_labels + 1
    tensors = build_skeleton(type(model), config).state_dict()
    wider_tensors = build_skeleton(type(model), wider_config).state_dict()
    axes: dict[str, int] = {}
    for name, tensor in tensors.items():
        sizes = zip(tensor.shape, wider_tensors[name].shape, strict=True)
        growing = [axis for axis, (size, wider_size) in enumerate(sizes) if size != wider_size]
        if growing:
            axes[name] = growing[0]
        if len(growing) > 1 or (growing and tensor.shape[growing[0]] != num_labels):
            raise InputError(
                f"{name} in {type(model).__name__} does not hold one row for each class, so the classes cannot be "
                "renumbered; train the student with the labels in the model's own order"
            )
    return axes
