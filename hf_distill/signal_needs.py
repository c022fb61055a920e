"""What an objective looks at in a model beside its logits."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SignalNeeds:
    """Which intermediate signals a forward is to hand over; what is not asked for is neither computed nor kept.

    Layers are counted as hidden states are: 0 is the output of the embeddings, k that of the k-th layer. Attention
    happens inside the layers, so there they start at 1.

    Attributes:
        hidden_states: The layers whose outputs are looked at.
        queries: The layers whose attention queries are looked at.
        keys: The same for keys.
        values: The same for values.
        position_biases: The layers whose scores are compared, to which a model may add a position bias.
    """

    hidden_states: frozenset[int] = frozenset()
    queries: frozenset[int] = frozenset()
    keys: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()
    position_biases: frozenset[int] = frozenset()

    @classmethod
    def scores(cls, layers: frozenset[int]) -> SignalNeeds:
        """What attention scores are made from."""
        return cls(queries=layers, keys=layers, position_biases=layers)

    @property
    def attention(self) -> frozenset[int]:
        """The layers inside whose attention anything is looked at."""
        return self.queries | self.keys | self.values | self.position_biases

    def __or__(self, other: SignalNeeds) -> SignalNeeds:
        """What either of two asks for."""
        return SignalNeeds(
            **{field.name: getattr(self, field.name) | getattr(other, field.name) for field in fields(self)}
        )

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any(getattr(self, field.name) for field in fields(self))


NOTHING_ELSE = SignalNeeds()
"""The logits alone."""
