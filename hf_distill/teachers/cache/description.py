"""What must be known of a teacher to use its answers without it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from hf_distill.label_alignment import predicts_next_token
from hf_distill.model_shape import ModelShape
from hf_distill.model_wrappers import unwrapped
from hf_distill.teachers.cache.teacher_inputs import TeacherInputs
from hf_distill.teachers.label_matching import label_names
from hf_distill.teachers.pairing import is_classifier


@dataclass(frozen=True)
class TeacherDescription:
    """Of one teacher.

    Attributes:
        inputs: What it reads.
        label_names: Its classes in the order of its logits; None for one that is no classifier.
        shape: How deep and how wide it is.
        predicts_next_token: It is a causal language model.
    """

    inputs: TeacherInputs
    label_names: list[str] | None
    shape: ModelShape
    predicts_next_token: bool

    @classmethod
    def of(cls, model: nn.Module) -> TeacherDescription:
        """Of a model, wrapped or not."""
        model = unwrapped(model)
        labels = label_names(model) if is_classifier(model) else None
        return cls(TeacherInputs.of(model), labels, ModelShape.of(model), predicts_next_token(model))

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        described = asdict(self)
        described["inputs"]["names"] = sorted(self.inputs.names)
        return described

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> TeacherDescription:
        """What :meth:`to_dict` gave."""
        inputs = {**described["inputs"], "names": frozenset(described["inputs"]["names"])}
        return cls(**{**described, "inputs": TeacherInputs(**inputs), "shape": ModelShape(**described["shape"])})
