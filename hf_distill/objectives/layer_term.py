"""What all terms have in common that compare layers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from hf_distill.model_shape import ModelShape
from hf_distill.objectives.layer_mapping import (
    LAST,
    LayerMapping,
    LayerPairs,
    check_layer_mapping,
    resolve_layer_mapping,
)
from hf_distill.objectives.term import Term
from hf_distill.signal_needs import SignalNeeds

AnyLayerTerm = TypeVar("AnyLayerTerm", bound="LayerTerm")


@dataclass(frozen=True, kw_only=True)
class LayerTerm(Term):
    """A term that compares pairs of layers and averages over the pairs.

    Attributes:
        layer_mapping: ``last``, ``auto`` or pairs; see :func:`resolve_layer_mapping`.
        first_layer: The first there is to compare: 0 for hidden states, 1 for what happens inside the layers.
        mapping_name: What the mapping is called in a configuration.

    Raises:
        InputError: A setting is unknown.
    """

    layer_mapping: LayerMapping = LAST
    first_layer: ClassVar[int] = 0
    mapping_name: ClassVar[str] = "layer_mapping"
    looks_inside: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        check_layer_mapping(self.layer_mapping, self.mapping_name)

    def resolved(self: AnyLayerTerm, student: ModelShape, teacher: ModelShape) -> AnyLayerTerm:
        """With the pairs of layers in place of the words.

        Raises:
            InputError: The layers are not there.
        """
        pairs = resolve_layer_mapping(self.layer_mapping, student, teacher, self.first_layer, self.mapping_name)
        return replace(self, layer_mapping=pairs)

    @property
    def pairs(self) -> LayerPairs:
        """The pairs of layers, student first, of a term that is resolved."""
        if isinstance(self.layer_mapping, str):
            raise ValueError(f"{self.name} is not resolved for two models.")
        return tuple((pair[0], pair[1]) for pair in self.layer_mapping)

    @abstractmethod
    def needs_in(self, layers: frozenset[int]) -> SignalNeeds:
        """What it looks at in these layers of a model."""

    @property
    def student_needs(self) -> SignalNeeds:
        """What it looks at in the student's layers."""
        return self.needs_in(frozenset(student for student, _ in self.pairs))

    @property
    def teacher_needs(self) -> SignalNeeds:
        """What it looks at in the teacher's layers."""
        return self.needs_in(frozenset(teacher for _, teacher in self.pairs))
