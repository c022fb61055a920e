"""Which labelled rows a run learns from and is compared on."""

from dataclasses import dataclass, field

from hf_distill.errors import InputError


@dataclass
class RowArguments:
    """Which labelled rows are learnt from, and which are held back to compare on.

    Raises:
        InputError: If there is no source of rows, or more than one, or a number is out of range.
    """

    task_name: str | None = field(
        default=None,
        metadata={
            "help": "A task known by name: one of GLUE's nine (cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb, wnli) or "
            "rotten_tomatoes; for images mnist."
        },
    )
    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Any classification data set on the Hub; for images also a folder with one for each class."},
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "The configuration of dataset_name."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "A folder with GLUE's own TSV files, to read task_name from there instead of the Hub."},
    )
    train_file: str | None = field(
        default=None, metadata={"help": "Your own rows to learn from: a CSV, TSV or JSONL file."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Your own rows to compare on, in the format of train_file."}
    )
    text_column: str | None = field(default=None, metadata={"help": "The column that holds the text."})
    text_pair_column: str | None = field(
        default=None, metadata={"help": "The column that holds the second text, for tasks on pairs of texts."}
    )
    label_column: str | None = field(default=None, metadata={"help": "The column that holds the label."})
    max_seq_length: int = field(
        default=128, metadata={"help": "Texts of more tokens than this are cut, and the cut ones counted."}
    )
    max_train_samples: int | None = field(
        default=None,
        metadata={
            "help": "Learn from no more labelled rows than this, a random subset that is the same for every seed; "
            "unset, from all."
        },
    )
    max_eval_samples: int | None = field(
        default=None,
        metadata={"help": "Compare on no more rows than this for each split, a fixed random subset; unset, on all."},
    )

    def __post_init__(self) -> None:
        """Refuse numbers below 1 and anything but one source of rows."""
        for name in ("max_seq_length", "max_train_samples", "max_eval_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, which leaves nothing to learn from; use 1 or more.")
        given = [name for name in ("task_name", "dataset_name", "train_file") if getattr(self, name) is not None]
        if not given:
            raise InputError(
                "No data was named; set task_name (such as sst2), dataset_name (a data set on the Hub) or train_file "
                "(your own rows)."
            )
        if len(given) > 1:
            raise InputError(
                f"{' and '.join(given)} are set, but rows can come from one source only; keep one of them."
            )
