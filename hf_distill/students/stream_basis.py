"""The directions of a teacher's residual stream that a narrower student keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.calibration import calibration_slices


@dataclass(frozen=True)
class StreamBasis:
    """An orthonormal basis of what is kept.

    A weight that reads from the stream or writes to it is expressed in this basis. Norms are not turned with the
    stream: each scale becomes the mean over the teacher's scales by their share in a direction, which is exact where
    they are all equal and otherwise no more than a start to learn from.

    Attributes:
        directions: ``(teacher's width, student's width)``, orthonormal columns.
        length: What normalised vectors of the student have to be multiplied by to be as long as what is left of the
            teacher's: the root of (its width / student's width * share of the squared length that is kept).
    """

    directions: Tensor
    length: float

    def project(self, weight: Tensor, axis: int) -> Tensor:
        """A weight with the stream along ``axis``, expressed in the basis; its dtype and device stay."""
        directions = self.directions.to(weight.device)
        return torch.tensordot(weight.double(), directions, dims=([axis], [0])).movedim(-1, axis).to(weight.dtype)

    def project_scale(self, scale: Tensor) -> Tensor:
        """The scale of a norm: ``(teacher's width,)`` to ``(student's width,)``."""
        shares = self.directions.square().to(scale.device)
        return (self.length * (scale.double() @ shares)).to(scale.dtype)


def find_stream_basis(
    model: PreTrainedModel, width: int, calibration: Mapping[str, Tensor] | None, keep_mean: bool
) -> StreamBasis:
    """The principal directions of the hidden states of all layers, or without ``calibration`` of the embeddings.

    Every vector counts with length 1, and padding does not count.

    Args:
        model: The teacher.
        width: How many directions to keep.
        calibration: A batch as the model's forward takes it; its ``attention_mask`` tells padding.
        keep_mean: The model subtracts the mean of each vector (``LayerNorm``). Then the direction of that mean,
            (1, ..., 1), is kept and becomes that of the student's mean, so that its norms subtract the same.

    Raises:
        InputError: There is no calibration batch, and the embeddings are not as wide as the stream.
    """
    moments = torch.zeros(model.config.hidden_size, model.config.hidden_size, dtype=torch.float64)
    for vectors in _embeddings(model) if calibration is None else _hidden_states(model, calibration):
        vectors = vectors.double().cpu()
        vectors = nn.functional.normalize(vectors - vectors.mean(1, keepdim=True) if keep_mean else vectors)
        moments += vectors.T @ vectors
    mean = torch.full((len(moments), 1), len(moments) ** -0.5, dtype=torch.float64)
    if keep_mean:
        moments -= moments.trace() * mean @ mean.T  # never among the other directions
    values, directions = (part.flip(-1) for part in torch.linalg.eigh(moments))
    kept = width - 1 if keep_mean else width
    directions = directions[:, :kept]
    if keep_mean:
        directions = torch.cat([mean, directions], 1) @ _basis_from_the_mean(width).T
    values = values.clamp(min=0)
    share = float(values[:kept].sum() / values.sum())
    return StreamBasis(directions, math.sqrt(len(moments) / width * share))


def _basis_from_the_mean(width: int) -> Tensor:
    """An orthonormal basis, ``(width, width)``, whose first column lies along (1, ..., 1)."""
    columns = torch.eye(width, dtype=torch.float64)
    columns[:, 0] = 1
    return torch.linalg.qr(columns).Q


def _embeddings(model: PreTrainedModel) -> Iterator[Tensor]:
    embeddings = model.get_input_embeddings()
    weight = getattr(embeddings, "weight", None)
    if not isinstance(embeddings, nn.Embedding) or weight is None or weight.shape[1] != model.config.hidden_size:
        raise InputError(
            f"the embeddings of {type(model).__name__} are not as wide as its layers, so they do not tell which "
            "directions matter; give a calibration batch"
        )
    yield weight.detach()


def _hidden_states(model: PreTrainedModel, calibration: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Of every layer, ``(vectors, width)``, without padding."""
    with torch.no_grad():
        for batch in calibration_slices(model, calibration):
            mask = batch.get("attention_mask")
            for states in model(**batch, output_hidden_states=True)["hidden_states"]:
                yield states.flatten(0, 1) if mask is None else states[mask.bool()]
