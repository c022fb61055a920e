"""A tokenizer of few words, some of them in pieces, and a random masked language model that reads them."""

from transformers import BertConfig, BertForMaskedLM, BertTokenizer, set_seed

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "a the film plot scene actor was is not never good great fine bad awful poor quite very re watch".split()
PIECES = ["##s", "##ly", "##able", "##2"]
OTHER = [",", ".", "'", "7"]
VOCABULARY = [*SPECIAL, *WORDS, *PIECES, *OTHER]
SENTENCES = [
    "The film was quite good.",
    "a plot, never watchable",
    "films is awful",
    "actors badly re watched the great scene, very very fine",
    "7 . ,",
]
PAIRS = [
    ("the film was good", "a great film"),
    ("the plot is poor", "awful films"),
    ("the actor was fine, very", "a fine actor"),
]


def tiny_tokenizer():
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(VOCABULARY)})
    tokenizer.model_max_length = 32
    return tokenizer


def tiny_masked_model(seed=0):
    set_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=40,
        initializer_range=0.5,
    )
    return BertForMaskedLM(config).eval()
