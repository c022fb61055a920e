"""A teacher that computes its answers while the student trains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, DynamoBackend, send_to_device
from torch import nn
from transformers.utils import logging

from hf_distill.asking import ask, check_needs
from hf_distill.model_shape import ModelShape
from hf_distill.model_wrappers import forward_parameters, unwrapped
from hf_distill.padding_free import boundary_names, check_keeps_sequences_apart
from hf_distill.sharding import shard_teacher
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.signals import Signals
from hf_distill.teachers.pairing import check_pair

logger = logging.get_logger(__name__)


class LiveTeacher:
    """A frozen model in evaluation mode, placed, sharded and cast as the student's training needs it.

    It is not a submodule of anything: the student's ``state_dict``, optimiser and checkpoints never see it, and
    DDP never wraps it.

    Args:
        model: The teacher. It is frozen in place by :meth:`prepare`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.input_names = forward_parameters(model) - {"labels"}
        self._read = self.input_names | boundary_names(model)
        # Decoders would keep the keys and values of every layer for a next token that nobody asks for.
        self._options = {"use_cache": False} if "use_cache" in self.input_names else {}
        self._class_order: list[int] | None = None
        self._class_index: torch.Tensor | None = None
        self._accelerator: Accelerator | None = None

    @property
    def shape(self) -> ModelShape:
        """How deep and how wide the model is."""
        return ModelShape.of(self.model)

    def pair_with(self, student: nn.Module, needs: SignalNeeds, tokenizer: Any = None) -> None:
        """Check that classes and vocabularies fit, see :func:`check_pair`, and that the model has what is needed."""
        self._class_order = check_pair(student, self.model, tokenizer)
        check_needs(unwrapped(self.model), needs, "teacher")
        self._class_index = None

    def collator(self, collator: Callable) -> Callable:
        """The same collator: the answers come from the batch itself.

        Raises:
            InputError: It joins sequences, and the model would mix them.
        """
        if self._accelerator is not None:
            check_keeps_sequences_apart(self.model, collator, self._accelerator, **self._options)
        return collator

    def prepare(self, accelerator: Accelerator, device: torch.device) -> None:
        """Freeze the model and put it where the student trains: its device, its compute dtype, its sharding.

        A quantised model, or one that ``device_map`` placed, stays where it is. Under bf16 the weights become
        bf16; under fp16 they stay as they are, since pure fp16 overflows, and autocast does the rest. It is compiled
        where the student is, save under DeepSpeed, whose engine owns the forward.
        """
        self._accelerator = accelerator
        # The copy waits for the device, which a training step is not to do.
        self._index_on(device)
        self.model.requires_grad_(False).eval()
        if places_itself(self.model):
            return
        if accelerator.mixed_precision == "bf16":
            self.model.to(torch.bfloat16)
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            self._prepare_deepspeed(accelerator, device)
        elif accelerator.distributed_type == DistributedType.FSDP:
            self._prepare_fsdp(accelerator, device)
        else:
            self.model.to(device)
        plugin = accelerator.state.dynamo_plugin
        if plugin.backend != DynamoBackend.NO and accelerator.distributed_type != DistributedType.DEEPSPEED:
            self.model.compile(**plugin.to_kwargs())

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any], needs: SignalNeeds = NOTHING_ELSE) -> Signals:
        """The teacher's answer to a batch, its classes in the student's order.

        Args:
            inputs: The collated batch; only what the teacher's forward takes is passed on, and no labels.
            needs: What to hand over beside the logits.
        """
        self.model.eval()
        inputs = {name: value for name, value in inputs.items() if name in self._read}
        device = next(value.device for value in inputs.values() if isinstance(value, torch.Tensor))
        if places_itself(self.model):
            inputs = self._sent_home(inputs)
        with self._accelerator.autocast() if self._accelerator is not None else nullcontext():
            _, signals = ask(self.model, unwrapped(self.model), {**inputs, **self._options}, needs)
        if places_itself(self.model):
            signals = signals.to(device)
        return signals.in_class_order(self._index_on(signals.dense_logits.device))

    def _sent_home(self, inputs: dict[str, Any]) -> dict[str, Any]:
        home = next(self.model.parameters()).device
        # Weights that are offloaded are on "meta" between uses, and Accelerate's hooks move the inputs.
        return inputs if home.type == "meta" else send_to_device(inputs, home)

    def _index_on(self, device: torch.device) -> torch.Tensor | None:
        if self._class_index is None and self._class_order is not None:
            self._class_index = torch.tensor(self._class_order, device=device)
        return self._class_index

    def _prepare_fsdp(self, accelerator: Accelerator, device: torch.device) -> None:
        if accelerator.is_fsdp2:
            self.model = shard_teacher(accelerator, self.model).requires_grad_(False).eval()
            return
        logger.warning("FSDP version 1 leaves the teacher whole on every GPU; set fsdp_version: 2 to shard it too.")
        self.model.to(device)

    def _prepare_deepspeed(self, accelerator: Accelerator, device: torch.device) -> None:
        config = copy.deepcopy(accelerator.state.deepspeed_plugin.deepspeed_config)
        if config["zero_optimization"]["stage"] != 3:
            self.model.to(device)
            return
        import deepspeed

        # An engine without optimizer or scheduler partitions the weights and gathers each layer's for its forward.
        config.pop("optimizer", None)
        config.pop("scheduler", None)
        config["train_micro_batch_size_per_gpu"] = 1
        config.pop("train_batch_size", None)
        config.pop("gradient_accumulation_steps", None)
        engine, *_ = deepspeed.initialize(model=self.model, config=config)
        self.model = engine.eval()


def places_itself(model: nn.Module) -> bool:
    """Whether a model must stay where it is: quantised, or spread over devices by ``device_map``."""
    return getattr(model, "hf_device_map", None) is not None or getattr(model, "is_quantized", False)
