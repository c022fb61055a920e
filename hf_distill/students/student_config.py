"""The configuration of a student that keeps some of its teacher's layers."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin
from transformers.utils import logging

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import LayerStack

logger = logging.get_logger(__name__)

_NAMES_OF_INDICES = re.compile(r"layer|block|idx|index|indices")


def build_student_config(
    teacher: PreTrainedModel, kept_layers: Mapping[LayerStack, Sequence[int]]
) -> PreTrainedConfig:
    """A copy of the teacher's configuration with the counts, the lists by layer and the lists of layers adapted.

    It records in ``distilled_from_layers`` which layers each stack was made from, as indices into the first teacher:
    a student of a student composes the two choices.

    Args:
        teacher: Its configuration is left as it is.
        kept_layers: Ascending indices into each stack.
    """
    config = copy.deepcopy(teacher.config)
    for stack, kept in kept_layers.items():
        counting = stack.counting_config(config)
        for field, value in vars(stack.counting_config(teacher.config)).items():
            if field.startswith("_") or not isinstance(value, list | tuple):
                continue
            if _names_layers(field, value, stack.total):
                setattr(counting, field, type(value)(kept.index(layer) for layer in value if layer in kept))
            elif field in stack.per_layer_fields:
                _warn_of_lost_kinds(field, value, kept)
                setattr(counting, field, type(value)(value[layer] for layer in kept))
        setattr(counting, stack.count_field[-1], len(kept))
        if isinstance(counting, BackboneConfigMixin) and len(counting.stage_names) == stack.total + 1:
            _rename_stages(counting, stack, kept)
    config.distilled_from_layers = {
        stack.paths[0]: _original_indices(teacher, stack, kept) for stack, kept in kept_layers.items()
    }
    return config


def _names_layers(field: str, value: Sequence[Any], total: int) -> bool:
    """Whether a list holds indices of layers (``moe_layers=[1, 3, 5]``) rather than one value for each layer."""
    return (
        bool(value)
        and _NAMES_OF_INDICES.search(field) is not None
        and all(type(item) is int and 0 <= item < total for item in value)
        and list(value) == sorted(set(value))
    )


def _warn_of_lost_kinds(field: str, value: Sequence[Any], kept: Sequence[int]) -> None:
    kinds = {kind for kind in value if isinstance(kind, str)}
    lost = sorted(kinds - {value[layer] for layer in kept if isinstance(value[layer], str)})
    if lost:
        logger.warning(
            f"The student keeps the layers {list(kept)}, and none of them is {' or '.join(lost)} in {field}; "
            "choose layers of every kind to keep what each does."
        )


def _rename_stages(config: PreTrainedConfig, stack: LayerStack, kept: Sequence[int]) -> None:
    """Adapts the stages of a backbone, the hidden states by name: ``stem`` before the first layer, one after each."""
    place_of_stage = {0: 0, stack.total: len(kept)} | {layer + 1: place + 1 for place, layer in enumerate(kept)}
    stages = [stage % (stack.total + 1) for stage in config.out_indices]
    for stage in stages:
        if stage not in place_of_stage:
            raise InputError(
                f"out_features asks for {config.stage_names[stage]}, the output of layer {stage - 1} of "
                f"{stack.paths[0]}, which the layers {list(kept)} leave out; keep that layer too"
            )
    config.stage_names = config.stage_names[: len(kept) + 1]
    config.set_output_features_output_indices(None, [place_of_stage[stage] for stage in stages])


def _original_indices(teacher: PreTrainedModel, stack: LayerStack, kept: Sequence[int]) -> list[int]:
    """``kept`` as indices into the first teacher; a record of another length describes other layers than these."""
    record: Mapping[str, Sequence[int]] = getattr(teacher.config, "distilled_from_layers", None) or {}
    prefix = f"{teacher.base_model_prefix}."
    by_bare_path = {path.removeprefix(prefix): original for path, original in record.items()}
    original = by_bare_path.get(stack.paths[0].removeprefix(prefix), ())
    return [original[layer] for layer in kept] if len(original) == stack.total else list(kept)
