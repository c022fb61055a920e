"""A ``Trainer`` that puts rows of similar length together, so that little of what it computes is padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from accelerate.utils import recursively_apply
from datasets import Dataset
from torch.utils.data import DataLoader, RandomSampler, Sampler, SequentialSampler
from transformers import EvalPrediction, PreTrainedTokenizerBase, SequenceFeatureExtractor, Trainer
from transformers.trainer_utils import EvalLoopOutput, has_length
from transformers.utils import logging

from hf_distill.arguments import RunArguments
from hf_distill.padding import padding_collator
from hf_distill.padding_free import check_keeps_sequences_apart, check_nothing_is_repeated
from hf_distill.row_lengths import are_rows_stored, row_lengths
from hf_distill.sampling import LongestFirstSampler, SeededLengthGroupedSampler, sampler_inside

logger = logging.get_logger(__name__)


class LengthAwareTrainer(Trainer):
    """Trains in steps of rows of similar length, and evaluates the longest rows first.

    What comes out of an evaluation, and what ``compute_metrics`` is given, is in the rows' own order. Rows whose
    lengths cannot be known are shuffled for training. They are evaluated in their own order, as are rows that are
    computed when they are asked for, which measuring would compute twice.

    Args:
        model: As for ``transformers.Trainer``.
        args: The arguments of the run.
        data_collator: Without one, and with a tokenizer as ``processing_class``, batches are padded to their longest
            row.
        **kwargs: As for ``transformers.Trainer``.

    Raises:
        InputError: The collator joins sequences, and the model would mix them.
    """

    args: RunArguments

    def __init__(
        self,
        model: Any,
        args: RunArguments,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        tokenizer = kwargs.get("processing_class")
        if data_collator is None and isinstance(tokenizer, PreTrainedTokenizerBase):
            data_collator = padding_collator(tokenizer, args.device)
        super().__init__(model=model, args=args, data_collator=data_collator, **kwargs)
        check_nothing_is_repeated(self.data_collator, args.world_size, args.dataloader_drop_last)
        check_keeps_sequences_apart(self.model, self.data_collator, self.accelerator)

    def _row_lengths(self, dataset: Any) -> list[int] | None:
        stated = self.args.length_column_name
        if isinstance(dataset, Dataset) and stated in dataset.column_names:
            return [int(length) for length in dataset[stated]]
        reader: Any = self.processing_class
        reads_sequences = isinstance(reader, PreTrainedTokenizerBase | SequenceFeatureExtractor)
        return row_lengths(dataset, reader.model_input_names[0] if reads_sequences else "input_ids")

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or not has_length(dataset):
            return super()._get_train_sampler(train_dataset)
        lengths = self._row_lengths(dataset)
        if lengths is None:
            logger.info("The rows have no lengths to group them by, so their order is random.")
            return RandomSampler(dataset)
        # Of the whole step over all processes, so that the order does not depend on how it is cut.
        step_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        return SeededLengthGroupedSampler(step_size, lengths, seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        """The longest rows first, if the results can be put back afterwards; else the rows' own order."""
        hands_out_batches = self.args.batch_eval_metrics or not self.args.eval_do_concat_batches
        if not hands_out_batches and not self.args.dataloader_drop_last and are_rows_stored(eval_dataset):
            lengths = self._row_lengths(eval_dataset)
            if lengths is not None:
                return LongestFirstSampler(lengths)
        return SequentialSampler(eval_dataset) if has_length(eval_dataset) and self.args.world_size <= 1 else None

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's loop; what comes out is in the rows' own order."""
        sampler = sampler_inside(dataloader)
        if not isinstance(sampler, LongestFirstSampler):
            return super().evaluation_loop(dataloader, *args, **kwargs)
        place_of_row = np.argsort(sampler.order)
        compute_metrics = self.compute_metrics
        if compute_metrics is not None:
            self.compute_metrics = lambda prediction: compute_metrics(
                _prediction_in_row_order(prediction, place_of_row)
            )
        try:
            output = super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self.compute_metrics = compute_metrics
        return output._replace(
            predictions=_in_row_order(output.predictions, place_of_row),
            label_ids=_in_row_order(output.label_ids, place_of_row),
        )


def _prediction_in_row_order(prediction: EvalPrediction, place_of_row: np.ndarray) -> EvalPrediction:
    return EvalPrediction(
        predictions=_in_row_order(prediction.predictions, place_of_row),
        label_ids=_in_row_order(prediction.label_ids, place_of_row),
        inputs=_in_row_order(prediction.inputs, place_of_row),
        losses=_in_row_order(prediction.losses, place_of_row),
    )


def _in_row_order(values: Any, place_of_row: np.ndarray) -> Any:
    """Each array of a nest, its first dimension in the rows' own order; arrays without one entry a row as they are."""

    def put_back(array: np.ndarray) -> np.ndarray:
        return array[place_of_row] if array.shape[:1] == place_of_row.shape else array

    return recursively_apply(
        put_back, values, test_type=lambda value: isinstance(value, np.ndarray) and value.ndim > 0
    )
