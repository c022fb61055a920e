"""Load what makes augmented rows: a masked language model, word vectors, the teacher's token embeddings."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForMaskedLM, PreTrainedModel

from hf_distill.arguments import DataArguments
from hf_distill.augmentation import Augmenter, MaskedWords, TokenVectors, WordProposals, WordVectors, read_word_vectors
from hf_distill.augmentation.words import check_tells_words
from hf_distill.errors import InputError, one_line
from hf_distill.tasks import Task
from hf_distill.workflow.data import ReadingNeeds
from hf_distill.workflow.models import Source, load_tokenizer
from hf_distill.workflow.teaching import Teaching


class AugmenterSource:
    """Knows from what a run's augmenter is made.

    Args:
        arguments: Which kinds of augmentation, and the models for it.
        task: The rows that others are made of: those with a label.
        teaching: The first teacher's token embeddings may tell which words are near each other.

    Raises:
        InputError: A model, a file or a tokenizer cannot do what is asked of it.
    """

    def __init__(self, arguments: DataArguments, task: Task, teaching: Teaching) -> None:
        self.arguments, self._task, self._teaching = arguments, task, teaching
        self.has_pairs = "text_pair" in task.train.column_names
        kinds = arguments.augmentation or []
        if "pairs" in kinds and not self.has_pairs:
            raise InputError(
                f"augmentation names pairs, and the task {task.name!r} has single texts, so there is nothing to join; "
                "leave pairs out."
            )
        self._replaces_words, self._joins_pairs = "words" in kinds, "pairs" in kinds
        if self._replaces_words:
            self._check_words()

    def _check_words(self) -> None:
        name, vectors = self.arguments.augmentation_model, self.arguments.augmentation_vectors
        first = self._teaching.first
        self._tokenizer = first.tokenizer
        self._masked_source = None if name is None else Source.find(name)
        if self._masked_source is not None:
            self._tokenizer = load_tokenizer(self._masked_source, self._teaching.models.trust_remote_code)
            check_tells_words(self._tokenizer, f"augmentation_model {name!r}")
        self._vectors = None if vectors is None else Path(vectors).expanduser()
        if self._vectors is None or self._masked_source is None:
            check_tells_words(first.tokenizer, "the teacher")
        if self._vectors is not None and not self._vectors.is_file():
            raise InputError(
                f"augmentation_vectors {str(self._vectors)!r} is no file, so there are no word vectors; give a text "
                "file of them, as GloVe's."
            )

    def make(self, max_length: int) -> Augmenter:
        """Load everything, and make the augmenter; the teacher must still be as it was published.

        Args:
            max_length: Tokens; words behind that are never replaced.

        Raises:
            InputError: A model or a file cannot be used.
        """
        rows, arguments = self._task.train, self.arguments
        columns: list[list[str]] = [rows[name][:] for name in ("text", "text_pair") if name in rows.column_names]
        texts = list(zip(*columns, strict=True))
        proposals = self._proposals(max_length) if self._replaces_words else None
        return Augmenter(
            texts, arguments.augmentation_copies, arguments.augmentation_probability, proposals, self._joins_pairs
        )

    def _proposals(self, max_length: int) -> WordProposals:
        masked = None
        if self._masked_source is not None:
            model = self._load_masked(self._masked_source)
            masked = MaskedWords(model, self._tokenizer)
            max_length = min(
                max_length, self._tokenizer.model_max_length, ReadingNeeds.of(model).longest or max_length
            )
        return WordProposals(
            self._tokenizer, self._word_vectors(), self.arguments.augmentation_candidates, max_length, masked
        )

    def _word_vectors(self) -> WordVectors:
        if self._vectors is not None:
            return read_word_vectors(self._vectors)
        embeddings = self._teaching.first_model.get_input_embeddings()
        return TokenVectors(self._teaching.first.tokenizer, torch.as_tensor(embeddings.weight))

    def _load_masked(self, source: Source) -> PreTrainedModel:
        try:
            model, info = AutoModelForMaskedLM.from_pretrained(
                source.path,
                revision=source.commit or "main",
                trust_remote_code=self._teaching.models.trust_remote_code,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"augmentation_model {source.name!r} cannot be loaded as a masked language model ({one_line(error)}); "
                "name one, or leave it out to use word vectors alone."
            ) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise InputError(
                f"augmentation_model {source.name!r} has no trained head for masked words (missing: "
                f"{', '.join(missing)}), so it would propose words at random; name a masked language model, or leave "
                "it out to use word vectors alone."
            )
        return model.eval().to(self._teaching.args.device)
