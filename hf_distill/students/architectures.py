"""The classes of model that a student made of its teacher's layers may have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from transformers import PreTrainedModel

from hf_distill.errors import InputError
from hf_distill.students.distilbert import to_distilbert

_DISTILLED_AS_THEY_ARE = ("roberta", "distilbert")


def _same(model: PreTrainedModel) -> PreTrainedModel:
    return model


def _distil(model: PreTrainedModel, fold_token_type: bool = False) -> PreTrainedModel:
    """The class in which a family was distilled: DistilBERT's for BERT; DistilRoBERTa is a RoBERTa of fewer layers."""
    family = model.config.model_type
    if family in _DISTILLED_AS_THEY_ARE:
        return model
    if family != "bert":
        raise InputError(
            f"the teacher is a {type(model).__name__}, and only the families "
            f"{', '.join(('bert', *_DISTILLED_AS_THEY_ARE))} have a distilled class; choose the architecture 'same'"
        )
    return to_distilbert(model, fold_token_type)


ARCHITECTURES: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
    "same": _same,
    "distil": _distil,
    "distil_folded": partial(_distil, fold_token_type=True),
}
"""Each takes a student of the teacher's class and gives it in its own."""
