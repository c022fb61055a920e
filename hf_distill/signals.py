"""What a model hands over to the objective: one small dataclass for student and teacher, live or stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hf_distill.errors import InputError


@dataclass(frozen=True)
class SparseLogits:
    """Some tokens' probabilities in place of the logits of a whole vocabulary.

    Attributes:
        token_ids: ``(..., kept)`` integers. A token may be there more than once: its probabilities add up.
        probabilities: ``(..., kept)``, at ``temperature``.
        entropy: ``(...)``, that of the whole distribution at ``temperature``, in nats.
        temperature: The only one at which these probabilities are right.
    """

    token_ids: Tensor
    probabilities: Tensor
    entropy: Tensor
    temperature: float


@dataclass(frozen=True)
class MixedLogits:
    """The logits of several teachers for the same rows.

    Attributes:
        logits: One tensor for each teacher, all ``(batch, [sequence,] num_classes)``.
        weights: One for each teacher, summing to 1.
    """

    logits: tuple[Tensor, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Signals:
    """The outputs that an objective may look at.

    Attributes:
        logits: ``(batch, [sequence,] num_classes)``; None where ``sparse`` or ``mixed`` takes their place.
        last_hidden_state: ``(batch, sequence, hidden_size)``, the decoder's where there is one; None unless asked for.
        sparse: Of a teacher with a large vocabulary, the tokens that were kept.
        mixed: Of several teachers, the logits of each.
    """

    logits: Tensor | None
    last_hidden_state: Tensor | None = None
    sparse: SparseLogits | None = None
    mixed: MixedLogits | None = None

    def __post_init__(self) -> None:
        """Check that exactly one kind of answer is there."""
        if sum(answer is not None for answer in (self.logits, self.sparse, self.mixed)) != 1:
            raise ValueError("Signals need exactly one of logits, sparse and mixed.")

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

    @property
    def dense_logits(self) -> Tensor:
        """The logits of a model that gave them all, as every student does."""
        if self.logits is None:
            raise ValueError("These signals are sparse or mixed and have no logits of their own.")
        return self.logits

    def for_causal_prediction(self) -> Signals:
        """Without the last position's logits, whose next token is unknown."""
        if self.sparse is not None:
            sparse = replace(
                self.sparse,
                token_ids=self.sparse.token_ids[..., :-1, :],
                probabilities=self.sparse.probabilities[..., :-1, :],
                entropy=self.sparse.entropy[..., :-1],
            )
            return replace(self, sparse=sparse)
        if self.mixed is not None:
            logits = tuple(logits[..., :-1, :] for logits in self.mixed.logits)
            return replace(self, mixed=replace(self.mixed, logits=logits))
        return replace(self, logits=self.dense_logits[..., :-1, :])

    def in_class_order(self, index: Tensor | None) -> Signals:
        """The same signals with the classes renumbered.

        Args:
            index: ``(num_classes,)``, for each new class the old one, each once; None leaves the classes as they are.
        """
        if index is None:
            return self
        if self.sparse is not None:
            return replace(self, sparse=replace(self.sparse, token_ids=index.argsort()[self.sparse.token_ids.long()]))
        if self.mixed is not None:
            logits = tuple(logits.index_select(-1, index) for logits in self.mixed.logits)
            return replace(self, mixed=replace(self.mixed, logits=logits))
        return replace(self, logits=self.dense_logits.index_select(-1, index))
