"""A task's rows as the models read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import DataCollatorWithPadding, EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.model_wrappers import forward_parameters
from hf_distill.tasks import Task, compute_metrics, tokenize

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class TaskData:
    """Everything that training and evaluation take from a task.

    Attributes:
        task: Where it came from.
        train: Tokenized rows.
        evaluation: The same by split.
        collator: Pads a batch to its longest row.
        compute_metrics: As ``Trainer`` takes it.
    """

    task: Task
    train: Dataset
    evaluation: dict[str, Dataset]
    collator: DataCollatorWithPadding
    compute_metrics: Callable[[EvalPrediction], dict[str, float]]

    @property
    def eval_dataset(self) -> Dataset | dict[str, Dataset]:
        """As ``Trainer`` takes it: a single split goes without its name, so that metrics are ``eval_accuracy``."""
        return next(iter(self.evaluation.values())) if len(self.evaluation) == 1 else self.evaluation


def prepare_data(
    task: Task, tokenizer: PreTrainedTokenizerBase, max_seq_length: int, models: list[PreTrainedModel]
) -> TaskData:
    """Tokenize a task for models that share a vocabulary.

    Args:
        task: Raw rows.
        tokenizer: Of the teacher, whose inputs are the richer ones.
        max_seq_length: Longer texts are cut there, or where the first model or tokenizer ends.
        models: All that will read the rows.
    """
    limits = [tokenizer.model_max_length]
    limits += [getattr(model.config, "max_position_embeddings", None) or max_seq_length for model in models]
    if min(limits) < max_seq_length:
        logger.warning(f"max_seq_length is {max_seq_length}, and the models read {min(limits)} tokens: using that.")
    length = min(max_seq_length, *limits)
    token_types = any("token_type_ids" in forward_parameters(model) for model in models)

    def tokenized(rows: Dataset) -> Dataset:
        return tokenize(rows, tokenizer, length, token_types)

    return TaskData(
        task=task,
        train=tokenized(task.train),
        evaluation={split: tokenized(rows) for split, rows in task.evaluation.items()},
        collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics(task),
    )


def shown_example(task: Task) -> Any:
    """A text of the task in the form that ``pipeline`` takes."""
    row = next(iter(task.evaluation.values()))[0]
    return {"text": row["text"], "text_pair": row["text_pair"]} if "text_pair" in row else row["text"]
