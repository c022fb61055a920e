"""What a model hands over to the objective: one small dataclass for student and teacher, live or stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_distill.errors import InputError


@dataclass(frozen=True)
class Signals:
    """The outputs that an objective may look at.

    Attributes:
        logits: ``(batch, [sequence,] num_classes)``.
        last_hidden_state: ``(batch, sequence, hidden_size)``, the decoder's where there is one; None unless asked for.
    """

    logits: Tensor
    last_hidden_state: Tensor | None = None

    @classmethod
    def from_model_output(cls, output: Any) -> Signals:
        """Read them off whatever a forward returned: a ``ModelOutput``, a mapping, a tuple or the logits alone.

        Raises:
            InputError: There are no logits in it.
        """
        if isinstance(output, Tensor):
            return cls(output)
        if not isinstance(output, Mapping):
            return cls(output[0])
        if "logits" not in output:
            raise InputError(
                f"The model returned {', '.join(output)} and no `logits`, which distillation compares: use a model "
                "with one classification or language-modelling head."
            )
        hidden_states = output.get("decoder_hidden_states") or output.get("hidden_states")
        return cls(output["logits"], hidden_states[-1] if hidden_states else None)

    def for_causal_prediction(self) -> Signals:
        """Without the last position's logits, whose next token is unknown."""
        return Signals(self.logits[..., :-1, :], self.last_hidden_state)
