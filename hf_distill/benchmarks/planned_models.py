"""The models that a plan is about: configurations found by name, built without weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from hf_distill.errors import InputError, one_line
from hf_distill.model_names import resolve_model_name
from hf_distill.students.layer_selection import select_layers
from hf_distill.students.layer_stacks import build_skeleton, find_layer_stacks
from hf_distill.students.student_config import build_student_config

CONFIGS: dict[str, PreTrainedConfig] = {
    "minilm-l6": BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536),
    "bert-base": BertConfig(),
    "bert-large": BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    "roberta-large": RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
    ),
    "llama-7b": LlamaConfig(),
}
"""Shapes that need no file."""

TASKS = ("classification", "token-classification", "language-modelling")


def build_model(name: str, task: str, num_classes: int) -> PreTrainedModel:
    """A model with the task's head, on the ``meta`` device.

    Args:
        name: A shape of ``CONFIGS``, a folder, a Hub id or ``package:NAME/FOLDER``.
        task: One of ``TASKS``.
        num_classes: Of a classification; a language model has its vocabulary.

    Raises:
        InputError: There is no such configuration, or its architecture has no such head.
    """
    config = _load_config(name)
    auto: Any = AutoModelForSequenceClassification
    if task == "token-classification":
        auto = AutoModelForTokenClassification
    elif task == "language-modelling":
        auto = AutoModelForMaskedLM if type(config) in MODEL_FOR_MASKED_LM_MAPPING else AutoModelForCausalLM
    if task != "language-modelling":
        config.num_labels = num_classes
    try:
        with torch.device("meta"):
            return auto.from_config(config)
    except ValueError as error:
        raise InputError(
            f"{name} cannot be built for {task} ({one_line(error)}); choose another task or another model."
        ) from error


def shorten(teacher: PreTrainedModel, num_layers: int) -> PreTrainedModel:
    """The teacher's shape with fewer layers, on the ``meta`` device.

    Raises:
        InputError: The teacher has not as many, or shares its layers' weights.
    """
    stacks = find_layer_stacks(teacher)
    kept = {stack: select_layers(stack.total, num_layers, layer_selection="first") for stack in stacks}
    return build_skeleton(type(teacher), build_student_config(teacher, kept))


def _load_config(name: str) -> PreTrainedConfig:
    if name in CONFIGS:
        return copy.deepcopy(CONFIGS[name])
    folder = resolve_model_name(name)
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No configuration was found for {name} ({one_line(error)}); give a folder, a Hub id, "
            f"package:NAME/FOLDER, or one of {', '.join(CONFIGS)}."
        ) from error
