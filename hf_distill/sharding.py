"""Which layers Accelerate's FSDP2 shards, each model told apart.

Left alone, Accelerate takes the names of the classes to shard from the first model that it meets and looks for them in
all others, where a teacher and a student may be of different classes. And what BERT-like models name themselves
includes their embeddings, which Accelerate shards once more and fails.
"""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from torch import nn


def name_layers_to_shard(accelerator: Accelerator, student: nn.Module) -> None:
    """Have FSDP2 shard the student layer by layer, unless the user named classes; does nothing without FSDP2."""
    if not accelerator.is_fsdp2:
        return
    plugin = accelerator.state.fsdp_plugin
    if plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = layer_classes(student)


def shard_teacher(accelerator: Accelerator, teacher: nn.Module) -> nn.Module:
    """Shard the teacher by its own layers, and leave the plugin to the student as it was."""
    plugin = accelerator.state.fsdp_plugin
    of_student = plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap
    plugin.transformer_cls_names_to_wrap = layer_classes(teacher)
    try:
        return fsdp2_prepare_model(accelerator, teacher)
    finally:
        plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap = of_student


def layer_classes(model: nn.Module) -> list[str]:
    """The names of the classes that a model stacks in lists, such as ``["BertLayer"]``; lists within them left out."""
    names: set[str] = set()
    pending = [model]
    while pending:
        module = pending.pop()
        if isinstance(module, nn.ModuleList):
            names |= {type(layer).__name__ for layer in module if not type(layer).__module__.startswith("torch.")}
        else:
            pending.extend(module.children())
    return sorted(names)
