"""Further rows made from those there are, for a teacher to label."""

from hf_distill.augmentation.augmented_rows import AugmentedRows
from hf_distill.augmentation.augmenter import Augmenter
from hf_distill.augmentation.generation import make_or_read
from hf_distill.augmentation.masked_words import MaskedWords
from hf_distill.augmentation.proposals import WordProposals
from hf_distill.augmentation.word_vectors import TokenVectors, WordVectors, read_word_vectors

__all__ = [
    "AugmentedRows",
    "Augmenter",
    "MaskedWords",
    "TokenVectors",
    "WordProposals",
    "WordVectors",
    "make_or_read",
    "read_word_vectors",
]
