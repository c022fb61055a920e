"""Recording the models that compute their attention themselves, by hooks on their projections."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from hf_distill.attention_recording.layer_recorder import LayerRecorder


@dataclass(frozen=True)
class _Layout:
    """Where an attention class has its parts.

    Attributes:
        projections: The names of the linear modules that make queries, keys and values.
        scaling: What the module multiplies the dot products of queries and keys by.
        changes_scores: What else it does to the scores, beside a ``position_bias`` among its inputs; None for nothing.
    """

    projections: tuple[str, str, str]
    scaling: Callable[[Any], float]
    changes_scores: str | None = None


def _scaling_of_disentangled(module: DisentangledSelfAttention) -> float:
    terms = 1 + sum(kind in module.pos_att_type for kind in ("c2p", "p2c"))
    return (module.attention_head_size * terms) ** -0.5


_LAYOUTS: dict[type[nn.Module], _Layout] = {
    MPNetSelfAttention: _Layout(("q", "k", "v"), lambda module: module.attention_head_size**-0.5),
    DisentangledSelfAttention: _Layout(
        ("query_proj", "key_proj", "value_proj"),
        _scaling_of_disentangled,
        "adds disentangled terms of positions and contents to them inside",
    ),
}


def _layout(module: nn.Module) -> _Layout | None:
    return next((layout for kind, layout in _LAYOUTS.items() if isinstance(module, kind)), None)


def has_known_projections(module: nn.Module) -> bool:
    """Whether ``module`` is an attention that these hooks can record."""
    return _layout(module) is not None


def changes_scores(module: nn.Module) -> str | None:
    """What the attention does to its scores beside adding a position bias and a mask; None where it is nothing."""
    layout = _layout(module)
    return layout.changes_scores if layout else None


@contextmanager
def recording_projections(module: nn.Module, recorder: LayerRecorder) -> Iterator[None]:
    """While open, the heads that ``module`` projects go to ``recorder``; contexts may be nested.

    Compiled models run uncompiled meanwhile: compiled code passes hooks by that were added later.
    """
    layout = _layout(module)
    if layout is None:
        raise ValueError(f"{type(module).__name__} has no known projections.")
    scaling = layout.scaling(module)
    signature = inspect.signature(module.forward)
    heads: list[Tensor] = []
    biases: list[Tensor | None] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        heads.clear()
        biases[:] = [signature.bind(*args, **kwargs).arguments.get("position_bias")]

    def project(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        heads.append(output.unflatten(-1, (module.num_attention_heads, -1)).transpose(1, 2))

    def after(*_: Any) -> None:
        query, key, value = heads
        recorder.record(query, key, value, scaling, biases[0])
        heads.clear()
        biases.clear()

    with ExitStack() as hooks:
        hooks.enter_context(torch.compiler.set_stance("force_eager"))
        hooks.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
        hooks.enter_context(module.register_forward_hook(after))
        for name in layout.projections:
            hooks.enter_context(module.get_submodule(name).register_forward_hook(project))
        yield
