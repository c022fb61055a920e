"""One variant, trained in a process of its own: ``python -m hf_distill.benchmarks.worker ASSIGNMENT RESULT_FILE``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import DefaultDataCollator

from hf_distill.benchmarks.clock import StepClock
from hf_distill.benchmarks.recipe import Recipe
from hf_distill.benchmarks.synthetic import make_models, make_rows
from hf_distill.benchmarks.variants import VARIANTS, Ingredients, cached_teacher

BUILD_CACHE = "build"


@dataclass(frozen=True)
class Assignment:
    """What a process is to train.

    Attributes:
        variant: A name of ``VARIANTS``, or ``BUILD_CACHE`` to compute the teacher's outputs and nothing else.
        shape: Of the models, see ``SHAPES``.
        batch_size: Rows in a step of one process.
        seq_length: Tokens in a row.
        warm_up_steps: Steps before those that are timed.
        steps: Steps that are timed.
        rows: All rows; with a cache, those that are in it.
        folder: With the cache.
        bf16: Compute in bfloat16.
        torch_compile: Compile the models.
        use_cpu: Leave accelerators alone.
    """

    variant: str
    shape: str
    batch_size: int
    seq_length: int
    warm_up_steps: int
    steps: int
    rows: int
    folder: str
    bf16: bool = False
    torch_compile: bool = False
    use_cpu: bool = False


@dataclass(frozen=True)
class Finding:
    """What one process found.

    Attributes:
        cpu: Seconds of CPU time of the timed steps.
        wall: Seconds on the wall.
        peak_mb: Most memory ever held, 1e6 bytes: of the accelerator, or else resident.
    """

    cpu: float
    wall: float
    peak_mb: float


def run_processes(assignment: Assignment, processes: int = 1, threads: int | None = None) -> list[Finding]:
    """Have it done, by several processes together where asked for, and wait.

    Args:
        assignment: What to do.
        processes: How many.
        threads: On the CPU, of each; left out, as the environment has it.

    Raises:
        RuntimeError: One of them failed; its last words are in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m"]
        if processes > 1:
            command += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        command += [__name__, json.dumps(asdict(assignment)), str(Path(folder, "finding"))]
        own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            command, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"Training {assignment.variant} in {processes} processes failed:\n{done.stderr[-5000:]}"
            )
        return [Finding(**json.loads(file.read_text())) for file in sorted(Path(folder).iterdir())]


def peak_memory_mb(use_cpu: bool) -> float:
    """The most that this process ever held, 1e6 bytes.

    ``getrusage`` will not do: Linux hands the peak of a process that starts another on to the other.
    """
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.max_memory_allocated() / 1e6
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status tells no peak (VmHWM).")


def _train(assignment: Assignment) -> Finding:
    clock = StepClock(assignment.warm_up_steps, assignment.steps)
    recipe = Recipe(
        assignment.batch_size,
        str(Path(assignment.folder, "output")),
        max_steps=clock.total_steps,
        bf16=assignment.bf16,
        torch_compile=assignment.torch_compile,
        use_cpu=assignment.use_cpu,
    )
    given = Ingredients(
        *make_models(assignment.shape),
        make_rows(assignment.shape, assignment.rows, assignment.seq_length),
        DefaultDataCollator(),
        recipe,
        clock,
        Path(assignment.folder, "cache"),
    )
    if assignment.variant == BUILD_CACHE:
        cached_teacher(given)
        return Finding(0.0, 0.0, peak_memory_mb(assignment.use_cpu))
    training = VARIANTS[assignment.variant](given)
    del given
    training.train()
    return Finding(clock.total().cpu, clock.total().wall, peak_memory_mb(assignment.use_cpu))


if __name__ == "__main__":
    finding = _train(Assignment(**json.loads(sys.argv[1])))
    Path(f"{sys.argv[2]}-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(asdict(finding)))
    PartialState().destroy_process_group()
