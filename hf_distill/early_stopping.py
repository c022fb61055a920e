"""Early stopping that survives a resume."""

from collections.abc import Iterable

from transformers import EarlyStoppingCallback, TrainerCallback


def is_out_of_patience(callbacks: Iterable[TrainerCallback]) -> bool:
    """Whether early stopping has already ended the run whose callbacks these are."""
    return any(
        callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in callbacks
        if isinstance(callback, EarlyStoppingCallback)
    )
