"""A training step whose student and teacher are both sharded over two processes, on the CPU.

Accelerate does not shard on the CPU, so its part is played by a stand-in that carries Accelerate's real plugin.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, TorchDynamoPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from conftest import PaddingCollator
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from two_processes.cases import CASES, make_trainer

from hf_distill.sharding import name_layers_to_shard

SHARDED = ("example, other inputs", "token", "next token")


def shard_by_layers(trainer):
    """As torch's own documentation does: every layer, then what is left."""
    for model in (trainer.teacher.model, trainer.model):
        for module in model.modules():
            if isinstance(module, nn.ModuleList):
                for layer in module:
                    fully_shard(layer)
        fully_shard(model)


def shard_by_accelerate(trainer, cpu_ram_efficient_loading=False):
    """The teacher first, in the trainer's constructor; the student at the start of training."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        cpu_ram_efficient_loading=cpu_ram_efficient_loading,
    )
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin, dynamo_plugin=TorchDynamoPlugin()),
        distributed_type=DistributedType.FSDP,
        is_fsdp2=True,
        is_main_process=torch.distributed.get_rank() == 0,
        mixed_precision="no",
        device=torch.device("cpu"),
        autocast=nullcontext,
    )
    trainer.teacher.prepare(accelerator, accelerator.device)
    name_layers_to_shard(accelerator, trainer.model)
    trainer.model = fsdp2_prepare_model(accelerator, trainer.model)


WAYS = {
    "by layers": shard_by_layers,
    "by accelerate": shard_by_accelerate,
    "by accelerate, from one process": lambda trainer: shard_by_accelerate(trainer, cpu_ram_efficient_loading=True),
}


def roles(trainer):
    return {"student": trainer.model, "teacher": trainer.teacher.model}


def sharded_units(model):
    """How many modules are gathered and freed on their own."""
    return sum(isinstance(module, FSDPModule) for module in model.modules())


def held_here(model):
    """The share of a model's weights that this process holds."""
    weights = list(model.parameters())
    local = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
    return sum(weight.numel() for weight in local) / sum(weight.numel() for weight in weights)


def one_step(trainer, rows):
    """The step of ``Trainer``'s loop: this process takes its half of the rows."""
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    half = len(rows) // world_size
    batch = PaddingCollator()(rows[rank * half : (rank + 1) * half])
    [batch], counts = trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
    trainer.training_step(trainer.model, batch, counts)
    return torch.cat([weight.grad.full_tensor().flatten() for weight in trainer.model.parameters()])


def run_sharded(folder, tensors):
    """Every way for some cases; gradients are added by name, what is held where is returned."""
    results = {}
    for name in SHARDED:
        for way, shard in WAYS.items():
            trainer, _ = make_trainer(CASES[name], folder / "out")
            order = [weight_name for weight_name, _ in trainer.model.named_parameters()]
            shard(trainer)
            assert [weight_name for weight_name, _ in trainer.model.named_parameters()] == order
            teacher = trainer.teacher.model
            results[f"{name}/{way}"] = {
                "held here": {role: held_here(model) for role, model in roles(trainer).items()},
                "units": {role: sharded_units(model) for role, model in roles(trainer).items()},
                "teacher is frozen": not any(weight.requires_grad for weight in teacher.parameters()),
                "teacher is in eval mode": not any(module.training for module in teacher.modules()),
            }
            tensors[f"{name}/{way}"] = one_step(trainer, list(CASES[name].rows())[:8])
    return results
