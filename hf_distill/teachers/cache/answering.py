"""The teacher at work: one batch in, what is stored of its answers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from hf_distill.errors import InputError
from hf_distill.label_alignment import with_decoder_inputs
from hf_distill.model_wrappers import unwrapped
from hf_distill.teachers.cache.fingerprint import Storage
from hf_distill.teachers.cache.shards import Answers
from hf_distill.teachers.cache.spans import Spans
from hf_distill.teachers.cache.stored_signals import to_store
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs
from hf_distill.teachers.live_teacher import LiveTeacher, places_itself
from hf_distill.teachers.sparse_sampling import SparseSampling


class AnsweringTeacher:
    """A teacher that answers batches of rows, without any state of training.

    Args:
        model: The teacher; inside :meth:`at_work` it is on the device.
        storage: What is kept of its answers.
        device: Where it computes.
    """

    def __init__(self, model: nn.Module, storage: Storage, device: torch.device) -> None:
        self.model, self.storage, self.device = model, storage, device
        self.inputs = TeacherInputs.of(model)
        self._live = LiveTeacher(model)

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """That of the weights at work: bf16 on GPUs that have it, for a model in fp32; None without such weights."""
        return torch.bfloat16 if self.is_cast else next(iter(self._dtypes), None)

    @property
    def is_cast(self) -> bool:
        """Its weights are made bf16 for the work; those of several dtypes stay as they are, each for its reason."""
        has_bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return set(self._dtypes) == {torch.float32} and has_bf16 and not places_itself(self.model)

    @property
    def _dtypes(self) -> list[torch.dtype]:
        return [weight.dtype for weight in self.model.parameters() if weight.is_floating_point()]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """In evaluation mode, on its device and in its dtype; afterwards it is as it was, to the last bit."""
        modes = [(module, module.training) for module in self.model.modules()]
        try:
            dtype = torch.bfloat16 if self.is_cast else None
            with _placed(self.model, self.device, dtype), torch.inference_mode():
                yield
        finally:
            for module, training in modes:
                module.training = training

    def __call__(self, batch: Mapping[str, Any], keys: np.ndarray) -> Answers:
        """Answer, and leave the answers where and as the teacher computed them, without waiting for them.

        Args:
            batch: Collated, on the CPU.
            keys: ``(batch, 16)`` uint8.

        Raises:
            InputError: What is to be stored is not there.
        """
        spans = Spans.of(batch, self.inputs.is_encoder_decoder)
        tokens = spans.tokens.to(self.device) if spans is not None else None
        seen = send_to_device(self.seen(batch), self.device)
        # As when the teacher is live: its weights alone are cast, and what it is given may be in fp32.
        is_cast = self.compute_dtype == torch.bfloat16 and self.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if is_cast else nullcontext():
            signals = self._live(seen, self.storage.needs)
        by_row, by_token = {}, {}
        for name, values in ({"logits": signals.dense_logits} | to_store(signals, self.storage.needs)).items():
            if spans is not None and tokens is not None and spans.fit(values):
                by_token[name] = values.flatten(0, 1).index_select(0, tokens)
            else:
                by_row[name] = values
        lengths = spans.lengths if spans is not None and by_token else None
        answers = Answers(torch.from_numpy(keys.copy()), by_row, by_token, lengths)
        return answers if self.storage.sampling is None else _sampled(answers, self.storage.sampling)

    def as_stored(self, answers: Answers) -> Answers:
        """The same answers on the CPU, as exact as they are to be stored; waits for them.

        Raises:
            InputError: An answer is no number, or too large for the storage dtype.
        """
        by_row = {name: self._cast(name, values) for name, values in answers.by_row.items()}
        by_token = {name: self._cast(name, values) for name, values in answers.by_token.items()}
        return Answers(answers.keys, by_row, by_token, answers.lengths)

    def _cast(self, name: str, values: Tensor) -> Tensor:
        values = values.cpu()
        if not values.is_floating_point():
            return values
        stored = values.to(self.storage.dtype)
        if not stored.isfinite().all():
            self._check_finite(name, values, stored)
        return stored

    def _check_finite(self, name: str, values: Tensor, stored: Tensor) -> None:
        _refuse_nan(name, values)
        # A teacher may rule classes out with -inf, which every dtype holds.
        if not torch.equal(stored.isfinite(), values.isfinite()):
            kind = {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(self.storage.dtype, str(self.storage.dtype))
            raise InputError(
                f"The teacher's {name} reach {values[values.isfinite()].abs().max():.3g}, and {kind} holds no more "
                f"than {torch.finfo(self.storage.dtype).max:.5g}: store them in a dtype that reaches further, such as "
                "fp32."
            )

    def seen(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What of a batch the teacher sees, its decoder's inputs included."""
        batch = with_decoder_inputs(unwrapped(self.model), dict(batch))
        return {name: value for name, value in batch.items() if name in self.inputs.names}


def _refuse_nan(name: str, values: Tensor) -> None:
    if values.isnan().any():
        raise InputError(
            f"The teacher's {name} are NaN for some rows, so a student would learn nothing but NaN from them: check "
            "the teacher's weights, and that its dtype holds its numbers (fp16 may not)."
        )


def _sampled(answers: Answers, sampling: SparseSampling) -> Answers:
    """With sampled logits; each row's draws depend on its key alone, and not on the batch that it came in."""
    is_by_token = "logits" in answers.by_token
    kind = answers.by_token if is_by_token else answers.by_row
    # A GPU that is to draw from NaN is of no use afterwards.
    _refuse_nan("logits", kind["logits"])
    rows: Any = kind["logits"].unsqueeze(1).unbind()
    if is_by_token and answers.lengths is not None:
        rows = kind["logits"].split(answers.lengths.tolist())
    seeds = [int.from_bytes(key.numpy().tobytes()[:8], "little") for key in answers.keys]
    drawn = [sampling(logits, seed) for logits, seed in zip(rows, seeds, strict=True)]
    kept = {
        name: torch.cat([getattr(sparse, name) for sparse in drawn])
        for name in ("token_ids", "probabilities", "entropy")
    }
    others = {name: values for name, values in kind.items() if name != "logits"}
    if is_by_token:
        return Answers(answers.keys, answers.by_row, {**kept, **others}, answers.lengths)
    return Answers(answers.keys, {**kept, **others}, answers.by_token, answers.lengths)


@contextmanager
def _placed(model: nn.Module, device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """On a device and in a dtype; afterwards the very tensors that it had, since fp32 cannot be had back from bf16."""
    if places_itself(model):
        yield
        return
    weights = [(weight, weight.data) for weight in model.parameters()]
    buffers = [
        (module._buffers, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()
    ]
    try:
        model.to(device=device, dtype=dtype)
        yield
    finally:
        for weight, data in weights:
            weight.data = data
        for holder, name, buffer in buffers:
            holder[name] = buffer
