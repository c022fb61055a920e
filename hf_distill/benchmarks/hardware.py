"""What a device can do at best, by name, as its maker states it.

Peaks are those of dense matrix products: data sheets print twice as much, "with sparsity". fp32 is fp32, not TF32.
Links are given in one direction, half of what data sheets print. A precision that is not there has no units for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hf_distill.errors import InputError


@dataclass(frozen=True)
class Hardware:
    """One device, and how it is linked to others like it.

    Attributes:
        peak_tflops: By precision (``fp32``, ``fp16``, ``bf16``), 1e12 floating-point operations a second.
        memory_gb: 1e9 bytes; None for a CPU core, whose machine decides.
        memory_bandwidth: 1e9 bytes a second.
        link_bandwidth: To the other devices of its node, 1e9 bytes a second in one direction.
        network_bandwidth: Of a whole node of 8, 1e9 bytes a second in one direction.
        source: Where the figures are from.
    """

    peak_tflops: Mapping[str, float]
    memory_gb: float | None
    memory_bandwidth: float
    link_bandwidth: float
    network_bandwidth: float
    source: str

    @property
    def best_precision(self) -> str:
        """The fastest; bfloat16 rather than float16 where both are as fast."""
        return max(self.peak_tflops, key=lambda precision: (self.peak_tflops[precision], precision == "bf16"))


HARDWARE = {
    # Cycles a second · 2 units · 8 or 16 numbers · 2 operations; estimates, since clocks and memory channels differ.
    "cpu-core-avx2": Hardware({"fp32": 0.096}, None, 20, 10, 3.1, "3.0 GHz, two 256-bit FMA units"),
    "cpu-core-avx512": Hardware({"fp32": 0.16}, None, 20, 10, 3.1, "2.5 GHz, two 512-bit FMA units"),
    "t4": Hardware({"fp32": 8.1, "fp16": 65}, 16, 320, 16, 12.5, "https://www.nvidia.com/en-us/data-center/tesla-t4/"),
    "v100": Hardware({"fp32": 15.7, "fp16": 125}, 16, 900, 150, 50, "https://www.nvidia.com/en-us/data-center/v100/"),
    "l4": Hardware(
        {"fp32": 30.3, "fp16": 121, "bf16": 121}, 24, 300, 32, 12.5, "https://www.nvidia.com/en-us/data-center/l4/"
    ),
    "a10g": Hardware(
        {"fp32": 35, "fp16": 70, "bf16": 70}, 24, 600, 32, 12.5, "https://aws.amazon.com/ec2/instance-types/g5/"
    ),
    "a100-40gb": Hardware(
        {"fp32": 19.5, "fp16": 312, "bf16": 312}, 40, 1555, 300, 200, "https://www.nvidia.com/en-us/data-center/a100/"
    ),
    "a100-80gb": Hardware(
        {"fp32": 19.5, "fp16": 312, "bf16": 312}, 80, 2039, 300, 200, "https://www.nvidia.com/en-us/data-center/a100/"
    ),
    "h100": Hardware(
        {"fp32": 67, "fp16": 989, "bf16": 989}, 80, 3350, 450, 400, "https://www.nvidia.com/en-us/data-center/h100/"
    ),
    "h200": Hardware(
        {"fp32": 67, "fp16": 989, "bf16": 989}, 141, 4800, 450, 400, "https://www.nvidia.com/en-us/data-center/h200/"
    ),
}
"""SXM modules where there are several; networks as in DGX-1, DGX A100, DGX H100 and the AWS instances of 8."""

UTILISATION = {"cpu": 0.75, "fp32": 0.6, "fp16": 0.35, "bf16": 0.4}
"""The part of the peak that a step keeps busy, where nothing was measured: assumptions, to be replaced by figures."""


@dataclass(frozen=True)
class Cluster:
    """Equal nodes of equal devices, one process for each device.

    Attributes:
        name: Of the device, in ``HARDWARE``.
        gpus: Devices of each node; cores, for a CPU.
        nodes: How many nodes.

    Raises:
        InputError: No device has that name, or there is none of it.
    """

    name: str
    gpus: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        if self.name not in HARDWARE:
            raise InputError(f"No hardware is called {self.name!r}; choose from {', '.join(HARDWARE)}.")
        if self.gpus < 1 or self.nodes < 1:
            raise InputError(f"{self.nodes} nodes of {self.gpus} devices are none; give 1 or more of both.")

    @property
    def hardware(self) -> Hardware:
        """The device."""
        return HARDWARE[self.name]

    @property
    def is_cpu(self) -> bool:
        """Whether the device is a core, not an accelerator."""
        return self.name.startswith("cpu")

    @property
    def devices(self) -> int:
        """All of them."""
        return self.gpus * self.nodes

    @property
    def bandwidth(self) -> float:
        """Of the slowest link on the way round all devices, bytes a second; a node's network cards all take part."""
        between_nodes = self.hardware.network_bandwidth if self.nodes > 1 else float("inf")
        return 1e9 * min(self.hardware.link_bandwidth, between_nodes)

    def peak_flops(self, precision: str) -> float:
        """Floating-point operations a second of one device.

        Raises:
            InputError: It has no units for that precision.
        """
        if precision not in self.hardware.peak_tflops:
            raise InputError(
                f"{self.name} has no units for {precision}; use {' or '.join(self.hardware.peak_tflops)}."
            )
        return 1e12 * self.hardware.peak_tflops[precision]

    def utilisation(self, precision: str) -> float:
        """The assumed part of the peak."""
        return UTILISATION["cpu" if self.is_cpu else precision]
