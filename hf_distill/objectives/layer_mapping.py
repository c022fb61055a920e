"""Which layer of the student learns from which layer of its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape

LayerPairs = tuple[tuple[int, int], ...]
LayerMapping = str | Sequence[Sequence[int]]
LAST, AUTO = "last", "auto"


def resolve_layer_mapping(
    mapping: LayerMapping, student: ModelShape, teacher: ModelShape, first: int, name: str
) -> LayerPairs:
    """The pairs of layers that a mapping stands for, student first.

    Layers are counted as hidden states are: 0 is the output of the embeddings, k that of the k-th layer.

    Args:
        mapping: ``last``: the last layers of both. ``auto``: every layer of the student, each with the teacher's at
            the same relative depth, the embeddings and the last layers included (the uniform mapping of TinyBERT, Jiao
            et al. 2020, https://arxiv.org/abs/1909.10351, section 3.1). Or pairs ``[[student, teacher], ...]``.
        student: How many layers it has.
        teacher: The same of the teacher.
        first: The first layer there is to compare: 0 for hidden states, 1 for what happens inside the layers. ``auto``
            begins there.
        name: Of the setting, for messages.

    Raises:
        InputError: A layer is not there, or the number of layers is unknown.

    Example:
        >>> resolve_layer_mapping("auto", ModelShape(layers=3), ModelShape(layers=6), 0, "layer_mapping")
        ((0, 0), (1, 2), (2, 4), (3, 6))
    """
    if student.layers is None or teacher.layers is None:
        which = "student" if student.layers is None else "teacher"
        if mapping in (LAST, AUTO):
            raise InputError(
                f"{name} is {mapping!r}, and the {which}'s configuration does not say how many layers it has; write "
                "the pairs, such as [[1, 2], [2, 4]]."
            )
    elif mapping == LAST:
        return ((student.layers, teacher.layers),)
    elif mapping == AUTO:
        pairs = ((layer, round(layer * teacher.layers / student.layers)) for layer in range(first, student.layers + 1))
        return tuple(pairs)
    return _checked_pairs(mapping, student, teacher, first, name)


def check_layer_mapping(mapping: LayerMapping, name: str) -> None:
    """Check what can be checked without the models.

    Raises:
        InputError: It is neither ``last`` nor ``auto`` nor pairs of whole numbers.
    """
    is_pairs = not isinstance(mapping, str) and all(
        not isinstance(pair, str) and len(pair) == 2 and all(type(layer) is int for layer in pair) for pair in mapping
    )
    if mapping not in (LAST, AUTO) and not (is_pairs and len(mapping) > 0):
        raise InputError(
            f"{name} is {mapping!r}; write auto, last, or pairs of a student's and a teacher's layer, such as "
            "[[1, 2], [2, 4], [3, 6]] (0 is the output of the embeddings)."
        )


def _checked_pairs(
    mapping: LayerMapping, student: ModelShape, teacher: ModelShape, first: int, name: str
) -> LayerPairs:
    check_layer_mapping(mapping, name)
    pairs = tuple((int(pair[0]), int(pair[1])) for pair in mapping)
    for place, (which, shape) in enumerate((("student", student), ("teacher", teacher))):
        for layer in (pair[place] for pair in pairs):
            if layer < first or (shape.layers is not None and layer > shape.layers):
                raise InputError(
                    f"{name} asks for the {which}'s layer {layer}, and there "
                    f"{'it has' if shape.layers is not None else 'are'} layers {first} to {shape.layers or '...'}"
                    f"{'' if first == 0 else ' (0, the output of the embeddings, has no attention)'}; name one of "
                    "those."
                )
    return pairs
