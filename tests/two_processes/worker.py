"""Run by torchrun with two processes; writes what each of them found to a folder.

PYTHONPATH=tests torchrun --standalone --nproc_per_node 2 tests/two_processes/worker.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from two_processes.shard_models import run_sharded
from two_processes.train_cases import run_trainings

folder = Path(sys.argv[1])
tensors = {}
results = {**run_trainings(folder, tensors), **run_sharded(folder, tensors)}
rank = torch.distributed.get_rank()
save_file(tensors, folder / f"tensors-{rank}.safetensors")
(folder / f"results-{rank}.json").write_text(json.dumps(results))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
