"""Tiny real models of every kind whose attention is recorded, with inputs for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

LAYERS = 3
HEADS = 4
WIDTH = 32
VOCABULARY = 99
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]])

_BERT_LIKE = {
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 37,
    "vocab_size": VOCABULARY,
}
_SPECIAL_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LLAMA_LIKE = {**_BERT_LIKE, **_SPECIAL_TOKENS, "num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Case:
    """A class of models with its configuration.

    Attributes:
        name: As in ``BertConfig`` and ``BertModel``.
        settings: For the configuration.
        is_causal: Whether tokens look back only.
        suffix: Of the class of the model.
        implementations: The attention implementations that it has.
    """

    name: str
    settings: dict[str, object]
    is_causal: bool = False
    suffix: str = "Model"
    implementations: tuple[str, ...] = ("eager", "sdpa")

    def build(self, implementation: str = "eager", **settings: object) -> PreTrainedModel:
        """The model in evaluation mode, with weights large enough for attention to be far from uniform."""
        torch.manual_seed(0)
        config = getattr(transformers, f"{self.name}Config")(**{**self.settings, **settings})
        config._attn_implementation = implementation
        model = getattr(transformers, f"{self.name}{self.suffix}")(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(std=0.3)
        return model.eval()

    def inputs(self) -> dict[str, Tensor]:
        """Two rows, the second with padding where the model knows it."""
        generator = torch.Generator().manual_seed(1)
        if self.name == "ViT":
            return {"pixel_values": torch.randn(2, 3, 8, 8, generator=generator)}
        tokens = torch.randint(3, VOCABULARY, MASK.shape, generator=generator)
        inputs = {"input_ids": tokens, "attention_mask": MASK}
        if self.is_encoder_decoder:
            inputs |= {"decoder_input_ids": tokens.flip(1), "decoder_attention_mask": MASK}
        return inputs

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the decoder's layers are meant."""
        return self.name in ("Bart", "T5")

    def may_attend(self) -> Tensor:
        """``(2, 1, sequence, sequence)``: which token may look at which."""
        if self.name == "ViT":
            return torch.ones(2, 1, 5, 5, dtype=torch.bool)
        allowed = MASK[:, None, None, :].bool().expand(2, 1, 7, 7)
        return allowed & torch.ones(7, 7, dtype=torch.bool).tril() if self.is_causal else allowed

    def run(self, model: PreTrainedModel, **settings: bool) -> transformers.utils.ModelOutput:
        """One forward."""
        return model(**self.inputs(), **settings)


CASES = [
    Case("Bert", _BERT_LIKE),
    Case("Roberta", _BERT_LIKE | _SPECIAL_TOKENS),
    Case("XLMRoberta", _BERT_LIKE | _SPECIAL_TOKENS),
    Case("Electra", {**_BERT_LIKE, "embedding_size": 16}),
    Case(
        "DistilBert", {"n_layers": LAYERS, "dim": WIDTH, "n_heads": HEADS, "hidden_dim": 37, "vocab_size": VOCABULARY}
    ),
    Case("ModernBert", {**_BERT_LIKE, **_SPECIAL_TOKENS, "cls_token_id": 1, "sep_token_id": 2}),
    Case("MPNet", {**_BERT_LIKE, **_SPECIAL_TOKENS}, implementations=("eager",)),
    Case(
        "GPT2",
        {
            "n_layer": LAYERS,
            "n_embd": WIDTH,
            "n_head": HEADS,
            "vocab_size": VOCABULARY,
            "scale_attn_by_inverse_layer_idx": True,
            **_SPECIAL_TOKENS,
        },
        is_causal=True,
    ),
    Case("Llama", _LLAMA_LIKE, is_causal=True),
    Case("Qwen3", _LLAMA_LIKE, is_causal=True),
    Case("ViT", {**_BERT_LIKE, "image_size": 8, "patch_size": 4}),
    Case(
        "Bart",
        {
            "encoder_layers": 2,
            "decoder_layers": LAYERS,
            "d_model": WIDTH,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": HEADS,
            "encoder_ffn_dim": 37,
            "decoder_ffn_dim": 37,
            "vocab_size": VOCABULARY,
            **_SPECIAL_TOKENS,
        },
        is_causal=True,
    ),
    Case(
        "T5",
        {
            "num_layers": 2,
            "num_decoder_layers": LAYERS,
            "d_model": WIDTH,
            "d_kv": 8,
            "num_heads": HEADS,
            "d_ff": 37,
            "vocab_size": VOCABULARY,
            "decoder_start_token_id": 0,
        },
        is_causal=True,
    ),
]
DEBERTA = Case(
    "DebertaV2",
    {**_BERT_LIKE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    implementations=("eager",),
)
GEMMA = Case("Gemma2", {**_LLAMA_LIKE, "attn_logit_softcapping": 50.0}, is_causal=True, implementations=("eager",))
CASES_BY_NAME: dict[str, Case] = {case.name: case for case in (*CASES, DEBERTA, GEMMA)}
