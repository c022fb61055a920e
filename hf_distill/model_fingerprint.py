"""One line that tells a model's weights, or its configuration, from all others."""

import hashlib
import json
from collections.abc import Collection

import torch
from accelerate.utils.modeling import get_state_dict_offloaded_model
from torch import Tensor, nn
from transformers import PreTrainedModel

_OF_A_FILE = ("_name_or_path", "transformers_version")


def weights_fingerprint(model: nn.Module, untrained: Collection[str] = ()) -> str:
    """A SHA-256 over the names, the shapes and the bytes of all weights, 64 hexadecimal digits.

    Args:
        model: On any device, in any dtype; the same values in another dtype give another fingerprint.
        untrained: Weights of which only name and shape count, because they are drawn from a seed.
    """
    digest = hashlib.sha256(getattr(getattr(model, "config", None), "model_type", "").encode())
    for name, weight in sorted(_state_dict(model).items()):
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        if name not in untrained:
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def config_fingerprint(model: PreTrainedModel) -> str:
    """A SHA-256 over a model's configuration, 64 hexadecimal digits; where it lies and who wrote it does not count."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in _OF_A_FILE}
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def _state_dict(model: nn.Module) -> dict[str, Tensor]:
    if any(weight.device.type == "meta" for weight in model.parameters()):
        return get_state_dict_offloaded_model(model)
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
