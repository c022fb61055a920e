"""A student made of its teacher's own weights: of some of the layers, and of some of what each layer holds."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from tempfile import TemporaryDirectory

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.architectures import ARCHITECTURES
from hf_distill.students.layer_places import find_carried_tables
from hf_distill.students.layer_selection import select_layers
from hf_distill.students.layer_stacks import LayerStack, build_skeleton, find_layer_stacks
from hf_distill.students.narrowing import narrow
from hf_distill.students.student_config import build_student_config
from hf_distill.students.weight_copy import copy_weights


def create_student(
    teacher: PreTrainedModel,
    num_layers: int | Mapping[str, int] | None = None,
    layers: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    layer_selection: str = "alternate",
    *,
    architecture: str = "same",
    hidden_size: int | None = None,
    num_attention_heads: int | None = None,
    intermediate_size: int | None = None,
    calibration: Mapping[str, Tensor] | None = None,
) -> PreTrainedModel:
    """A smaller model that starts from some of the teacher's layers.

    Everything outside the layers is copied too: embeddings, head, generation settings. The copies share no memory with
    the teacher and, unless the student is narrower, equal its weights bit for bit. The student is in eval mode. Its
    configuration records in ``distilled_from_layers`` which layers it was made from, such as
    ``{"bert.encoder.layer": [0, 2, 4]}``, always as indices into the first teacher.

    Args:
        teacher: Any model whose configuration counts its layers, whole and not quantised.
        num_layers: How many layers to keep; half, rounded up, when neither this nor ``layers`` is given. One number
            holds for every stack; ``{"decoder": 3}`` shortens the decoder and keeps other stacks whole.
        layers: Exactly these layers, ascending; a list, or a list for each stack as in ``num_layers``.
        layer_selection: Which layers ``num_layers`` takes: ``alternate``, ``spaced``, ``first`` or ``last``, as
            ``select_layers`` explains.
        architecture: ``same``, the teacher's class; ``distil``, the one in which its family was distilled:
            DistilBERT's for a BERT (see ``to_distilbert``); ``distil_folded``, with its first token type kept.
        hidden_size: The student's width, if smaller than the teacher's; see ``narrow`` for this and what follows.
        num_attention_heads: Heads that each layer keeps; left out, they follow the width in models such as BERT.
        intermediate_size: Feed-forward neurons that each layer keeps.
        calibration: A batch with labels, as the teacher's forward takes it: tells what matters.

    Raises:
        InputError: The request does not fit the teacher, its layers are shared (ALBERT) or unequal (Swin), a layer
            would compute something else at its new place, or the teacher is quantised or not whole.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> teacher = BertModel(BertConfig(num_hidden_layers=4, hidden_size=32, num_attention_heads=4))
        >>> create_student(teacher, layers=[0, 3]).config.distilled_from_layers
        {'encoder.layer': [0, 3]}
    """
    _check_teacher(teacher)
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture={architecture!r} is not known; choose one of {', '.join(ARCHITECTURES)}")
    widths = (hidden_size, num_attention_heads, intermediate_size)
    if widths != (None, None, None) or calibration is not None:
        teacher = narrow(teacher, *widths, calibration)
    return ARCHITECTURES[architecture](_keep_layers(teacher, num_layers, layers, layer_selection)).eval()


def _keep_layers(
    teacher: PreTrainedModel,
    num_layers: int | Mapping[str, int] | None,
    layers: Sequence[int] | Mapping[str, Sequence[int]] | None,
    layer_selection: str,
) -> PreTrainedModel:
    kept_layers = _choose_layers(find_layer_stacks(teacher), num_layers, layers, layer_selection)
    config = build_student_config(teacher, kept_layers)
    teacher_skeleton = build_skeleton(type(teacher), copy.deepcopy(teacher.config))
    reloaded_skeleton = build_skeleton(type(teacher), _reloaded(config))
    carried_tables = find_carried_tables(teacher_skeleton, reloaded_skeleton, kept_layers)
    student = build_skeleton(type(teacher), config)
    copy_weights(teacher, student, lambda name: _origin(name, kept_layers, carried_tables))
    if teacher.can_generate():
        student.generation_config = copy.deepcopy(teacher.generation_config)
    return student


def _check_teacher(teacher: PreTrainedModel) -> None:
    """Refuses what is no whole model of transformers."""
    if not isinstance(teacher, PreTrainedModel):
        raise InputError(
            f"the teacher is a {type(teacher).__name__}, not a Transformers model, so its layers cannot be found; "
            "load it with from_pretrained"
        )
    if getattr(teacher, "hf_quantizer", None) is not None:
        raise InputError(
            "the teacher is quantised, and a student cannot be trained from quantised layers; "
            "load the teacher without quantization_config to create the student"
        )
    if any(parameter.is_meta for parameter in teacher.parameters()):
        raise InputError(
            "some of the teacher's weights are not in memory (offloaded by device_map), so they cannot be copied; "
            "load the teacher on the CPU or on one device to create the student"
        )
    _refuse_other_weights(teacher)


def _refuse_other_weights(teacher: PreTrainedModel) -> None:
    """Refuses a teacher whose weights are not those that its configuration calls for."""
    skeleton = build_skeleton(type(teacher), copy.deepcopy(teacher.config))
    held, expected = (
        {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} for model in (teacher, skeleton)
    )
    for name in dict.fromkeys([*expected, *held]):
        if held.get(name) != expected.get(name):
            raise InputError(
                f"the teacher's {name} is {held.get(name, 'missing')}, and its configuration calls for "
                f"{expected.get(name, 'no such weight')}, so a student built from that configuration would differ; "
                "load the teacher with from_pretrained, without adapters, sharding or changes to its modules"
            )


def _choose_layers(
    stacks: Sequence[LayerStack],
    num_layers: int | Mapping[str, int] | None,
    layers: Sequence[int] | Mapping[str, Sequence[int]] | None,
    layer_selection: str,
) -> dict[LayerStack, list[int]]:
    by_stack = [argument for argument in (num_layers, layers) if isinstance(argument, Mapping)]
    names = [stack.name for stack in stacks]
    for name in {name for argument in by_stack for name in argument}:
        if name not in names:
            raise InputError(f"the teacher has no stack of layers named {name!r}; it has {', '.join(names)}")
    kept_layers = {}
    for stack in stacks:
        count = num_layers.get(stack.name) if isinstance(num_layers, Mapping) else num_layers
        indices = layers.get(stack.name) if isinstance(layers, Mapping) else layers
        if by_stack and count is None and indices is None:
            count = stack.total
        try:
            kept_layers[stack] = select_layers(stack.total, count, indices, layer_selection)
        except InputError as error:
            raise InputError(f"{stack.paths[0]}: {error}") from None
    return kept_layers


def _origin(name: str, kept_layers: Mapping[LayerStack, Sequence[int]], carried_tables: Collection[str]) -> str:
    """The teacher's name of the tensor that the student calls ``name``."""
    if name.rpartition(".")[0] in carried_tables:
        return name
    for stack, kept in kept_layers.items():
        for path in stack.paths:
            if name.startswith(f"{path}."):
                place, _, rest = name.removeprefix(f"{path}.").partition(".")
                return f"{path}.{kept[int(place)]}.{rest}"
    return name


def _reloaded(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration as it comes back after saving."""
    try:
        with TemporaryDirectory() as folder:
            copy.deepcopy(config).save_pretrained(folder)
            return type(config).from_pretrained(folder)
    except (StrictDataclassError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the configuration with fewer layers would not load again ({reason}); "
            "choose other layers, or another model as the student"
        ) from error
