"""What a command tells while it runs: progress on the main process, and on the others nothing but errors."""

import logging
import os

import datasets
import transformers


def show_progress() -> None:
    """Print this package's messages to stderr, one line each, and keep the other processes of a run quiet."""
    is_main = int(os.environ.get("RANK", "0")) <= 0
    logger = logging.getLogger("hf_distill")
    logger.setLevel(logging.INFO if is_main else logging.ERROR)
    logger.propagate = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    if not is_main:
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
