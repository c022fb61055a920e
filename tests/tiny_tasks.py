"""A tiny model and rows for every kind of task that a trainer may meet."""

import torch
from conftest import VOCABULARY, PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BertForMaskedLM,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)


def tiny_bart(cls=BartForConditionalGeneration, layers=1, seed=0, config=BartConfig, **options):
    set_seed(seed)
    sizes = {
        "d_model": 32,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 37,
        "decoder_ffn_dim": 37,
        "max_position_embeddings": 64,
    }
    no_dropout = {name: 0.0 for name in ("dropout", "encoder_layerdrop", "decoder_layerdrop", "attention_dropout")}
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 1}
    return cls(config(vocab_size=VOCABULARY, init_std=0.3, **sizes, **no_dropout, **special, **options)).eval()


def tiny_t5(layers=1, seed=0):
    set_seed(seed)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": layers, "num_heads": 4}
    config = T5Config(vocab_size=VOCABULARY, dropout_rate=0.0, decoder_start_token_id=0, **sizes)
    return T5ForConditionalGeneration(config).eval()


def tiny_gpt2(cls=GPT2LMHeadModel, layers=2, seed=0, **options):
    set_seed(seed)
    sizes = {"n_positions": 64, "n_embd": 32, "n_layer": layers, "n_head": 4, "initializer_range": 0.3}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "pad_token_id": 0}
    return cls(GPT2Config(vocab_size=VOCABULARY, **sizes, **no_dropout, **options)).eval()


def tiny_llama(layers=2, seed=0):
    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": layers, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.3, **sizes)).eval()


def tiny_vit(layers=2, seed=0, num_labels=3):
    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": layers, "num_attention_heads": 4}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    config = ViTConfig(image_size=8, patch_size=4, num_labels=num_labels, **sizes, **no_dropout)
    return ViTForImageClassification(config).eval()


def relabelled(make_label, count=24):
    return random_rows(count).map(lambda row, index: {"labels": make_label(row, index)}, with_indices=True)


def scores(count=24):
    return relabelled(lambda row, index: index / 4, count)


def several(count=24):
    return relabelled(lambda row, index: [float(index % 2), float(index % 3 == 0)], count)


def own_tokens(count=24):
    return relabelled(lambda row, index: row["input_ids"], count)


def images(count=24):
    generator = torch.Generator().manual_seed(0)
    return Dataset.from_dict(
        {
            "pixel_values": torch.randn(count, 3, 8, 8, generator=generator).tolist(),
            "labels": [index % 3 for index in range(count)],
        }
    )


TASKS = {
    "classes": (tiny_bert, random_rows),
    "score": (lambda **options: tiny_bert(num_labels=1, **options), scores),
    "several labels": (lambda **options: tiny_bert(num_labels=2, **options), several),
    "tokens": (
        lambda **options: tiny_bert(cls=BertForTokenClassification, **options),
        lambda count=24: random_rows(count, per_token=True),
    ),
    "masked tokens": (
        lambda **options: tiny_bert(cls=BertForMaskedLM, **options),
        lambda count=24: random_rows(count, per_token=True),
    ),
    "next token, GPT-2": (tiny_gpt2, own_tokens),
    "next token, Llama": (tiny_llama, own_tokens),
    "classes, GPT-2": (
        lambda **options: tiny_gpt2(GPT2ForSequenceClassification, num_labels=3, **options),
        random_rows,
    ),
    "classes, BART": (
        lambda **options: tiny_bart(BartForSequenceClassification, num_labels=3, **options),
        lambda count=24: relabelled(lambda row, index: index % 3, count).map(
            lambda row: {"input_ids": [max(token, 3) for token in row["input_ids"][:-1]] + [1]}
        ),
    ),
    "sequence to sequence, BART": (tiny_bart, own_tokens),
    "sequence to sequence, T5": (tiny_t5, own_tokens),
    "sequence to sequence, M2M100": (
        lambda **options: tiny_bart(M2M100ForConditionalGeneration, config=M2M100Config, **options),
        own_tokens,
    ),
    "images": (tiny_vit, images),
}


def collator_for(rows):
    return PaddingCollator() if "input_ids" in rows.column_names else None
