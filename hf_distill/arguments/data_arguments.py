"""Which rows a run learns from and is compared on."""

from __future__ import annotations

from dataclasses import dataclass

from hf_distill.arguments.row_arguments import RowArguments
from hf_distill.arguments.transfer_arguments import TransferArguments
from hf_distill.errors import InputError


@dataclass
class DataArguments(TransferArguments, RowArguments):
    """Which rows are learnt from, with labels and without, and which are held back to compare on.

    Raises:
        InputError: If there is no source of rows, or more than one, a number is out of range, or an option is of no
            use without another.
    """

    _argument_group_name = "data"

    def __post_init__(self) -> None:
        """Check both kinds of rows, and that the rest of the labelled rows is a rest of something."""
        RowArguments.__post_init__(self)
        TransferArguments.__post_init__(self)
        if self.unlabelled_rest and self.max_train_samples is None:
            raise InputError(
                "unlabelled_rest is set and max_train_samples is not, so all training rows keep their labels and "
                "there is no rest; set max_train_samples."
            )
