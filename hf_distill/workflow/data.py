"""A task's rows as the models read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.model_wrappers import forward_parameters
from hf_distill.padding import padding_collator
from hf_distill.tasks import Task, compute_metrics, tokenize
from hf_distill.tasks.task import with_missing_labels

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class TaskData:
    """Everything that training and evaluation take from a task.

    Attributes:
        task: Where it came from.
        train: Tokenized texts, or images as pixels, all with a label.
        evaluation: The same by split.
        max_seq_length: Tokens to which texts were cut, special ones included; 0 for images.
        collator: Makes a batch of rows, texts padded to the longest.
        compute_metrics: As ``Trainer`` takes it.
        tokenize: Reads further rows in the same way.
        transfer: Tokenized rows without a label, which only a teacher can teach; None if there are none.
    """

    task: Task
    train: Dataset
    evaluation: dict[str, Dataset]
    max_seq_length: int
    collator: Callable[[list[dict[str, Any]]], Any]
    compute_metrics: Callable[[EvalPrediction], dict[str, float]]
    tokenize: Callable[[Dataset], Dataset]
    transfer: Dataset | None = None

    @property
    def taught(self) -> Dataset:
        """All that a teacher answers: the rows with a label, then those without."""
        return self.train if self.transfer is None else concatenate_datasets([self.train, self.transfer])

    def with_transfer(self, rows: Dataset) -> TaskData:
        """The same with texts that have no label."""
        task = self.task
        return replace(self, transfer=self.tokenize(with_missing_labels(rows, task.problem_type, task.num_labels)))

    @property
    def eval_dataset(self) -> Dataset | dict[str, Dataset]:
        """As ``Trainer`` takes it: a single split goes without its name, so that metrics are ``eval_accuracy``."""
        return next(iter(self.evaluation.values())) if len(self.evaluation) == 1 else self.evaluation


@dataclass(frozen=True)
class ReadingNeeds:
    """What a model asks of its rows.

    Attributes:
        longest: The tokens that it reads at most; None if it does not say.
        token_types: Its forward takes ``token_type_ids``.
    """

    longest: int | None
    token_types: bool

    @classmethod
    def of(cls, model: PreTrainedModel) -> ReadingNeeds:
        """Those of a model."""
        return cls(_position_limit(model), "token_type_ids" in forward_parameters(model))


def prepare_data(
    task: Task, tokenizer: PreTrainedTokenizerBase, max_seq_length: int, readers: list[ReadingNeeds]
) -> TaskData:
    """Tokenize a task for models that read texts alike.

    Args:
        task: Raw rows.
        tokenizer: Of one of them; with token types, if any of them has such a one.
        max_seq_length: Longer texts are cut there, or where the first model or tokenizer ends.
        readers: What each model that will read the rows needs.
    """
    # Tokenizers saved without a limit would let a pipeline run over the end of the model.
    longest = min([tokenizer.model_max_length, *(needs.longest for needs in readers if needs.longest is not None)])
    tokenizer.model_max_length = longest
    if longest < max_seq_length:
        logger.warning(f"max_seq_length is {max_seq_length}, and the models read {longest} tokens: using that.")
    length = min(max_seq_length, longest)
    # GPT-2's forward takes token types too, but its tokenizer never sends any.
    takes_types = any(needs.token_types for needs in readers)
    token_types = takes_types and "token_type_ids" in tokenizer.model_input_names

    def tokenized(rows: Dataset) -> Dataset:
        return tokenize(rows, tokenizer, length, token_types)

    return TaskData(
        task=task,
        train=tokenized(task.train),
        evaluation={split: tokenized(rows) for split, rows in task.evaluation.items()},
        max_seq_length=length,
        collator=padding_collator(tokenizer, PartialState().device),
        compute_metrics=compute_metrics(task),
        tokenize=tokenized,
    )


def _position_limit(model: PreTrainedModel) -> int | None:
    """How many tokens a model reads, where it says so; RoBERTa-like ones count positions from behind the padding's."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is None:
        return None
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    offsets = [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None]
    return limit - max(offsets, default=0)


def shown_example(task: Task) -> Any:
    """A text of the task in the form that ``pipeline`` takes."""
    row = next(iter(task.evaluation.values()))[0]
    return {"text": row["text"], "text_pair": row["text_pair"]} if "text_pair" in row else row["text"]
