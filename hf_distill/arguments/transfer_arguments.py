"""Rows beyond the labelled ones, to which the teacher's answers are the only targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hf_distill.errors import InputError

AUGMENTATIONS = ("words", "pairs")


@dataclass
class TransferArguments:
    """Rows without a label and rows made from others, which teach what the teacher says alone.

    The defaults of the augmentation are TinyBERT's (Jiao et al. 2020, https://arxiv.org/abs/1909.10351, section 4.2).

    Raises:
        InputError: If a number is out of range, or an option is of no use without another.
    """

    unlabelled_file: str | None = field(
        default=None,
        metadata={
            "help": "Rows without a label, to learn from the teacher alone: a CSV, TSV or JSONL file with the text "
            "columns of the task. A column of labels in it is not read."
        },
    )
    unlabelled_split: str | None = field(
        default=None,
        metadata={
            "help": "A split of the data set, such as unsupervised, whose rows are learnt from the teacher alone; "
            "with data_dir the name of a TSV file, such as test. Its labels are not read."
        },
    )
    unlabelled_rest: bool = field(
        default=False,
        metadata={
            "help": "Learn the training rows that max_train_samples leaves out from the teacher alone. Their labels "
            "are thrown away when they are read."
        },
    )
    max_unlabelled_samples: int | None = field(
        default=None,
        metadata={"help": "Take no more rows without a label than this, a fixed random subset; unset, all."},
    )
    unlabelled_ratio: float | None = field(
        default=None,
        metadata={
            "help": "How many rows without a label, augmented ones included, an epoch holds for each labelled one: "
            "the labelled rows are repeated until there are no more than that. Unset, every row comes once."
        },
    )
    unlabelled_min_confidence: float | None = field(
        default=None,
        metadata={
            "help": "Leave out the rows without a label of which the teacher is less sure than this: its largest "
            "probability, or with several labels a row the mean of the larger of p and 1 - p. Needs the teacher's "
            "cache."
        },
    )
    augmentation: list[str] | None = field(
        default=None,
        metadata={
            "help": "Make further rows from the labelled ones and learn them from the teacher: by putting other words "
            "in place of some (words), or for pairs of texts also by joining texts of different pairs (pairs)."
        },
    )
    augmentation_copies: int = field(
        default=20, metadata={"help": "Rows that each kind of augmentation makes of a row, at most: N_a."}
    )
    augmentation_probability: float = field(
        default=0.4, metadata={"help": "The probability with which a word is replaced in such a row: p_t."}
    )
    augmentation_candidates: int = field(
        default=15, metadata={"help": "The words from which a replacement is drawn: K."}
    )
    augmentation_model: str | None = field(
        default=None,
        metadata={
            "help": "A masked language model (folder, Hub id or package:...) that proposes the words in place of "
            "those that are one token to it. Unset, all proposals are neighbours among word vectors."
        },
    )
    augmentation_vectors: str | None = field(
        default=None,
        metadata={
            "help": "Word vectors for neighbours: a text file as GloVe's, a word and its numbers on each line. Unset, "
            "the teacher's own token embeddings."
        },
    )
    augmentation_dir: str | None = field(
        default=None,
        metadata={
            "help": "A folder that keeps augmented rows, so that later runs read them; unset, "
            "OUTPUT_DIR/augmented_rows."
        },
    )

    def __post_init__(self) -> None:
        """Refuse what is out of range or of no use."""
        self._check_ranges()
        self._check_augmentation()

    @property
    def transfer_options(self) -> list[str]:
        """The names of the options that are set and add rows without a label or choose among them."""
        names = (
            "unlabelled_file unlabelled_split unlabelled_rest max_unlabelled_samples unlabelled_ratio "
            "unlabelled_min_confidence augmentation"
        ).split()
        return [name for name in names if getattr(self, name)]

    def _check_ranges(self) -> None:
        for name in ("max_unlabelled_samples", "augmentation_copies", "augmentation_candidates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, which adds nothing to learn from; use 1 or more.")
        ratio, confidence = self.unlabelled_ratio, self.unlabelled_min_confidence
        if ratio is not None and not (math.isfinite(ratio) and ratio > 0):
            raise InputError(f"unlabelled_ratio is {ratio}, and no number of rows is that; use a number above 0.")
        if confidence is not None and not 0 < confidence < 1:
            raise InputError(
                f"unlabelled_min_confidence is {confidence}, and it is compared with probabilities; use a number "
                "between 0 and 1, such as 0.9."
            )
        if not 0 < self.augmentation_probability <= 1:
            raise InputError(
                f"augmentation_probability is {self.augmentation_probability}, which is no probability of changing a "
                "word; use a number above 0 and no more than 1."
            )

    def _check_augmentation(self) -> None:
        kinds = self.augmentation if self.augmentation is not None else []
        if self.augmentation is not None and (
            not kinds or set(kinds) - set(AUGMENTATIONS) or len({*kinds}) < len(kinds)
        ):
            raise InputError(
                f"augmentation is {kinds}, and there are {' and '.join(AUGMENTATIONS)}; name one of them, or each "
                "once."
            )
        for name in ("augmentation_model", "augmentation_vectors"):
            if getattr(self, name) is not None and "words" not in kinds:
                raise InputError(f"{name} is set, and no words are to be replaced; add augmentation: [words].")
        if self.augmentation_dir is not None and not kinds:
            raise InputError("augmentation_dir is set and augmentation is not, so there is nothing to keep; set it.")
