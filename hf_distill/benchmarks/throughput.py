"""From the seconds of a step to how much of the device's power it used."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from hf_distill.benchmarks.cost_model import measured_utilisation, training_flops
from hf_distill.benchmarks.hardware import HARDWARE, Cluster


def step_utilisation(
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    *,
    batch_size: int,
    seq_length: int,
    seconds: float,
    precision: str,
) -> float | None:
    """The operations that a step needs, over those that the GPU at hand could have done meanwhile at its peak.

    Args:
        student: As it is trained.
        teacher: None where its outputs come from a cache.
        batch_size: Sequences.
        seq_length: Tokens of each.
        seconds: Of a step.
        precision: Whose peak: ``bf16``, or ``fp32`` without TF32.

    Returns:
        A share of 1; None where no peak is known for the device, as for a CPU.
    """
    if not torch.cuda.is_available():
        return None
    name = find_hardware(torch.cuda.get_device_name(), torch.cuda.get_device_properties().total_memory)
    if name is None:
        return None
    flops = training_flops(student, teacher, batch=batch_size, sequence=seq_length)
    return measured_utilisation(flops, seconds, Cluster(name).peak_flops(precision))


def find_hardware(device_name: str, memory: int) -> str | None:
    """The entry of ``HARDWARE`` that a GPU's own name means, such as ``NVIDIA A100-SXM4-80GB``.

    Args:
        device_name: As its driver tells it. PCIe cards share the names of faster modules, and are left unknown.
        memory: In bytes; tells entries of the same name apart.
    """
    words = device_name.lower().replace("-", " ").split()
    if {"pcie", "nvl"} & set(words):
        return None
    fitting = [entry for entry in HARDWARE if entry.split("-")[0] in words]
    return min(fitting, key=lambda entry: abs(1e9 * (HARDWARE[entry].memory_gb or 0) - memory), default=None)
