"""Every objective in two processes, cut in two ways, run by torchrun; each process writes the gradients it found.

PYTHONPATH=tests torchrun --standalone --nproc_per_node 2 tests/two_processes/objective_worker.py FOLDER
"""

import sys
from pathlib import Path

import torch
from invariance_cases import ALL, gradients_of, rows_of
from safetensors.torch import save_file

folder = Path(sys.argv[1])
tensors = {}
for name in ALL:
    for batch_size, accumulation in ((4, 1), (2, 2)):
        sizes = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation}
        gradients, losses = gradients_of(name, folder / "out", rows_of(11), **sizes)
        tensors[f"{name}/{batch_size}x{accumulation}/gradients"] = gradients
        tensors[f"{name}/{batch_size}x{accumulation}/losses"] = torch.tensor(losses)
save_file(tensors, folder / f"objectives-{torch.distributed.get_rank()}.safetensors")
torch.distributed.barrier()
torch.distributed.destroy_process_group()
