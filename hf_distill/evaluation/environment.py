"""What a run was made with."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from hf_distill.version import __version__


def environment() -> dict[str, Any]:
    """Versions of the libraries and of Python, the device's name, and how many threads torch may use on the CPU."""
    libraries = ("transformers", "datasets", "accelerate")
    return {
        "hf_distill": __version__,
        # Unlike the installed package's, it tells a CPU build from a CUDA one.
        "torch": str(torch.__version__),
        **{library: version(library) for library in libraries},
        "python": platform.python_version(),
        "device": _device_name(PartialState().device),
        "threads": torch.get_num_threads(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name() if device.type == "cpu" else device.type


def _cpu_name() -> str:
    """The processor's model where Linux tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
