"""The widths of a model, as its configuration counts them, and those asked of a narrower student."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from transformers import PreTrainedConfig

from hf_distill.errors import InputError

_FEED_FORWARD_FIELDS = ("intermediate_size", "hidden_dim", "d_ff")


@dataclass(frozen=True)
class Widths:
    """How wide a model is.

    Attributes:
        hidden_size: Of the residual stream, which every layer reads and adds to.
        num_attention_heads: In each layer, for queries.
        num_key_value_heads: For keys and values; fewer where several heads share them.
        head_size: Numbers in one head's query.
        intermediate_size: Neurons of each feed-forward block; None where the configuration does not say.
        ties_head_size: The head size is not in the configuration but is the quotient of the first two.
    """

    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_size: int
    intermediate_size: int | None
    ties_head_size: bool

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Widths:
        """Those of a configuration.

        Raises:
            InputError: It does not count its widths in one place, as models of several towers do not.
        """
        hidden, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
        if type(hidden) is not int or type(heads) is not int or getattr(config, "is_encoder_decoder", False):
            raise InputError(
                f"{type(config).__name__} does not describe a single stack with one hidden_size and one number of "
                "heads, so the student cannot be made narrower; leave hidden_size, num_attention_heads and "
                "intermediate_size out"
            )
        head_size = getattr(config, "head_dim", None)
        shared = getattr(config, "num_key_value_heads", None)
        return cls(
            hidden_size=hidden,
            num_attention_heads=heads,
            num_key_value_heads=heads if shared is None else shared,
            head_size=head_size or hidden // heads,
            intermediate_size=getattr(config, _feed_forward_field(config) or "", None),
            ties_head_size=head_size is None,
        )

    def narrowed(
        self, hidden_size: int | None, num_attention_heads: int | None, intermediate_size: int | None
    ) -> Widths:
        """The widths of a student; what is None stays, but heads follow the width where the head size is tied to it.

        Raises:
            InputError: A width is not positive or is above the teacher's, or widths and heads do not fit together.
        """
        asked = {
            "hidden_size": hidden_size,
            "num_attention_heads": num_attention_heads,
            "intermediate_size": intermediate_size,
        }
        for name, value in asked.items():
            if value is not None:
                _check(name, value, getattr(self, name))
        hidden = self.hidden_size if hidden_size is None else hidden_size
        heads = num_attention_heads
        if heads is None:
            heads = max(hidden // self.head_size, 1) if self.ties_head_size else self.num_attention_heads
        if self.ties_head_size and heads * self.head_size != hidden:
            raise InputError(
                f"hidden_size={hidden} with num_attention_heads={heads} would change the heads, which are "
                f"{self.head_size} wide in the teacher and are kept or left out whole; "
                f"choose a hidden_size of {self.head_size} times the number of heads"
            )
        shared_by = self.num_attention_heads // self.num_key_value_heads
        if heads % shared_by:
            raise InputError(
                f"num_attention_heads={heads} would split the groups of {shared_by} heads that share their keys and "
                f"values in the teacher; choose a multiple of {shared_by}"
            )
        return Widths(
            hidden_size=hidden,
            num_attention_heads=heads,
            num_key_value_heads=heads // shared_by,
            head_size=self.head_size,
            intermediate_size=self.intermediate_size if intermediate_size is None else intermediate_size,
            ties_head_size=self.ties_head_size,
        )

    def put_into(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """A copy of ``config`` with these widths."""
        config = copy.deepcopy(config)
        config.hidden_size = self.hidden_size
        config.num_attention_heads = self.num_attention_heads
        if getattr(config, "num_key_value_heads", None) is not None:
            config.num_key_value_heads = self.num_key_value_heads
        field = _feed_forward_field(config)
        if field is not None:
            setattr(config, field, self.intermediate_size)
        return config


def _feed_forward_field(config: PreTrainedConfig) -> str | None:
    return next((name for name in _FEED_FORWARD_FIELDS if type(getattr(config, name, None)) is int), None)


def _check(name: str, value: int, of_teacher: int | None) -> None:
    if of_teacher is None:
        raise InputError(f"{name}={value} was asked for, but the teacher's configuration has none; leave {name} out")
    if type(value) is not int or not 1 <= value <= of_teacher:
        raise InputError(
            f"{name}={value!r} does not narrow the teacher's {of_teacher}; choose a whole number up to that"
        )
