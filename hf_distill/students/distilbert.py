"""A BERT told as a DistilBERT: the same layers, without token types and without the pooler.

The names follow the script that made DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).
"""

from __future__ import annotations

import re

import transformers
from torch import Tensor
from transformers import BertPreTrainedModel, DistilBertConfig, PreTrainedModel
from transformers.utils import logging

from hf_distill.errors import InputError
from hf_distill.students.layer_stacks import build_skeleton
from hf_distill.students.weight_copy import copy_weights

logger = logging.get_logger(__name__)

_CLASSES = {
    "BertModel": "DistilBertModel",
    "BertForMaskedLM": "DistilBertForMaskedLM",
    "BertForSequenceClassification": "DistilBertForSequenceClassification",
    "BertForMultipleChoice": "DistilBertForMultipleChoice",
    "BertForTokenClassification": "DistilBertForTokenClassification",
    "BertForQuestionAnswering": "DistilBertForQuestionAnswering",
}
_NAMES = {
    r"(^|\.)transformer\.layer\.": r"\1encoder.layer.",
    r"\.q_lin\.": ".self.query.",
    r"\.k_lin\.": ".self.key.",
    r"\.v_lin\.": ".self.value.",
    r"\.out_lin\.": ".output.dense.",
    r"\.sa_layer_norm\.": ".attention.output.LayerNorm.",
    r"\.ffn\.lin1\.": ".intermediate.dense.",
    r"\.ffn\.lin2\.": ".output.dense.",
    r"\.output_layer_norm\.": ".output.LayerNorm.",
    r"^distilbert\.": "bert.",
    r"^pre_classifier\.": "bert.pooler.dense.",
    r"^vocab_transform\.": "cls.predictions.transform.dense.",
    r"^vocab_layer_norm\.": "cls.predictions.transform.LayerNorm.",
    r"^vocab_projector\.": "cls.predictions.decoder.",
}
"""From DistilBERT's names to BERT's."""
_LAYER_NORM_EPS = 1e-12
"""DistilBERT's own, which no configuration changes."""


def to_distilbert(model: PreTrainedModel, fold_token_type: bool = False) -> PreTrainedModel:
    """The DistilBERT with a BERT's weights.

    Token-type embeddings are dropped, as in the script: every token loses the vector of type 0, and texts in pairs
    lose what tells them apart. On all-MiniLM-L6-v2, all layers kept, that takes the cosine between the last hidden
    states of both to 0.57; with the vector folded into the position embeddings (``fold_token_type``) it is 1.

    The pooler is dropped too, but in a sequence classifier its weights become ``pre_classifier``, which stands in the
    same place with a ReLU for the tanh; so the classifier's weights still read the features that they were trained
    on, cut at 0. The heads for token classification, question answering, multiple choice and masked words are copied
    as they are.

    Args:
        model: An encoder of BERT's own class, bare or with one of those heads; left as it is.
        fold_token_type: Add the vector of token type 0 to every position's, so that single texts lose nothing.

    Raises:
        InputError: The model is of another class, or is a decoder.
    """
    kind = type(model).__name__
    if not isinstance(model, BertPreTrainedModel) or kind not in _CLASSES:
        raise InputError(
            f"no {kind} can become a DistilBERT, only {', '.join(_CLASSES)}; choose the architecture 'same'"
        )
    if model.config.is_decoder or model.config.add_cross_attention:
        raise InputError(
            "the teacher is a BERT decoder, and DistilBERT is an encoder only; choose the architecture 'same'"
        )
    if model.config.layer_norm_eps != _LAYER_NORM_EPS:
        logger.warning(
            f"The teacher's layer_norm_eps is {model.config.layer_norm_eps}, and DistilBERT's is always "
            f"{_LAYER_NORM_EPS}: the student computes slightly different numbers."
        )
    student = build_skeleton(getattr(transformers, _CLASSES[kind]), _distilbert_config(model))
    type_0 = model.base_model.get_parameter("embeddings.token_type_embeddings.weight")[0].detach()

    def folded(name: str, tensor: Tensor) -> Tensor:
        return tensor + type_0 if fold_token_type and name.endswith("position_embeddings.weight") else tensor

    copy_weights(model, student, _bert_name, folded)
    return student.eval()


def _bert_name(name: str) -> str:
    for pattern, replacement in _NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def _distilbert_config(model: PreTrainedModel) -> DistilBertConfig:
    bert = model.config
    dropout = bert.hidden_dropout_prob
    config = DistilBertConfig(
        dim=bert.hidden_size,
        n_layers=bert.num_hidden_layers,
        n_heads=bert.num_attention_heads,
        hidden_dim=bert.intermediate_size,
        activation=bert.hidden_act,
        dropout=dropout,
        attention_dropout=bert.attention_probs_dropout_prob,
        seq_classif_dropout=dropout if bert.classifier_dropout is None else bert.classifier_dropout,
        qa_dropout=dropout,
        **{
            name: getattr(bert, name)
            for name in (
                "vocab_size",
                "max_position_embeddings",
                "initializer_range",
                "pad_token_id",
                "bos_token_id",
                "eos_token_id",
                "tie_word_embeddings",
                "chunk_size_feed_forward",
                "id2label",
                "label2id",
                "problem_type",
            )
        },
    )
    record = getattr(bert, "distilled_from_layers", None)
    if record is not None:
        config.distilled_from_layers = {
            path.replace("bert.encoder", "distilbert.transformer").replace("encoder.", "transformer."): layers
            for path, layers in record.items()
        }
    return config
