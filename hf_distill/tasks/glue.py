"""The nine tasks of GLUE, from the Hub or from the TSV files that GLUE itself hands out.

Wang et al. 2019, https://arxiv.org/abs/1804.07461.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset

from hf_distill.errors import InputError
from hf_distill.tasks.columns import Columns
from hf_distill.tasks.hub import load_hub_splits, read_hub_split
from hf_distill.tasks.labels import LabelScheme, class_names
from hf_distill.tasks.split import Split
from hf_distill.tasks.tables import read_tab_separated
from hf_distill.tasks.task import REGRESSION, Task, texts_only, to_dataset
from hf_distill.tasks.unlabelled import check_unlabelled_split

HUB_DATASET = "nyu-mll/glue"


@dataclass(frozen=True)
class GlueTask:
    """One task of GLUE.

    Attributes:
        columns: On the Hub.
        file_columns: In the header of GLUE's TSV files.
        label_names: In the order of the Hub's class indices; None for STS-B's scores from 0 to 5.
        metrics: GLUE's own.
        primary_metric: The one that BERT's paper reports (https://arxiv.org/abs/1810.04805, table 1).
        named_labels: Whether the TSV files hold the labels' names rather than their indices.
        header: Of TSV files that come without one.
        dev_files: The stems of the files to compare on, by split.
    """

    columns: Columns
    file_columns: Columns
    label_names: list[str] | None
    metrics: tuple[str, ...] = ("accuracy",)
    primary_metric: str = "accuracy"
    named_labels: bool = False
    header: tuple[str, ...] | None = None
    dev_files: tuple[tuple[str, str], ...] = (("validation", "dev"),)

    @property
    def scheme(self) -> LabelScheme:
        """How the labels in the Hub's data set are encoded."""
        return LabelScheme(REGRESSION) if self.label_names is None else class_names(self.label_names)

    @property
    def file_scheme(self) -> LabelScheme:
        """How the labels in the TSV files are encoded."""
        if not self.named_labels:
            return self.scheme
        names = self.label_names or []
        return LabelScheme(self.scheme.problem_type, names, {name: position for position, name in enumerate(names)})


_SENTENCE = Columns("sentence", None, "label")
_SENTENCES = Columns("sentence1", "sentence2", "label")
_QUESTIONS = Columns("question1", "question2", "label")
_QUESTION_SENTENCE = Columns("question", "sentence", "label")
_ENTAILMENT = ["entailment", "not_entailment"]

GLUE_TASKS = {
    "cola": GlueTask(
        _SENTENCE,
        _SENTENCE,
        ["unacceptable", "acceptable"],
        ("matthews_correlation",),
        "matthews_correlation",
        header=("source", "label", "author's mark", "sentence"),
    ),
    "sst2": GlueTask(_SENTENCE, _SENTENCE, ["negative", "positive"]),
    "mrpc": GlueTask(
        _SENTENCES,
        Columns("#1 String", "#2 String", "Quality"),
        ["not_equivalent", "equivalent"],
        ("accuracy", "f1"),
        "f1",
    ),
    "qqp": GlueTask(
        _QUESTIONS,
        Columns("question1", "question2", "is_duplicate"),
        ["not_duplicate", "duplicate"],
        ("accuracy", "f1"),
        "f1",
    ),
    "stsb": GlueTask(
        _SENTENCES, Columns("sentence1", "sentence2", "score"), None, ("pearson", "spearman"), "spearman"
    ),
    "mnli": GlueTask(
        Columns("premise", "hypothesis", "label"),
        Columns("sentence1", "sentence2", "gold_label"),
        ["entailment", "neutral", "contradiction"],
        named_labels=True,
        dev_files=(("validation_matched", "dev_matched"), ("validation_mismatched", "dev_mismatched")),
    ),
    "qnli": GlueTask(_QUESTION_SENTENCE, _QUESTION_SENTENCE, _ENTAILMENT, named_labels=True),
    "rte": GlueTask(_SENTENCES, _SENTENCES, _ENTAILMENT, named_labels=True),
    "wnli": GlueTask(_SENTENCES, _SENTENCES, ["not_entailment", "entailment"]),
}


def normalise(name: str) -> str:
    """Spell a task's name as `GLUE_TASKS` does: ``"STS-B"`` becomes ``"stsb"``."""
    return name.strip().lower().replace("-", "").replace("_", "").replace(" ", "")


def load_glue(name: str, data_dir: str | None, unlabelled_split: str | None = None) -> Task:
    """Load one task of GLUE.

    Args:
        name: A key of `GLUE_TASKS`.
        data_dir: A folder with GLUE's TSV files: the one that holds ``SST-2``, ``CoLA``, ..., or the task's own. None
            for the Hub.
        unlabelled_split: Of the Hub's data set, or the stem of a TSV file; its labels are not read.

    Raises:
        InputError: If the data is missing or not in GLUE's layout, or the Hub cannot be reached.
    """
    task = GLUE_TASKS[name]
    if unlabelled_split is not None:
        check_unlabelled_split(unlabelled_split, [part for parts in task.dev_files for part in parts])
    read = _from_hub if data_dir is None else _from_files
    rows, unlabelled, files = read(name, task, data_dir, unlabelled_split)
    return Task(
        name=name,
        train=rows.pop("train"),
        evaluation=rows,
        label_names=task.label_names,
        problem_type=task.scheme.problem_type,
        metrics=task.metrics,
        primary_metric=task.primary_metric,
        source={"dataset": HUB_DATASET, "config": name, **({"files": files} if files else {})},
        unlabelled=unlabelled,
    )


_Read = tuple[dict[str, Dataset], Dataset | None, list[str]]
"""Labelled rows by split, those without a label, and the names of the files."""


def _from_hub(name: str, task: GlueTask, data_dir: str | None, unlabelled_split: str | None) -> _Read:
    remedy = "download GLUE's TSV files and give their folder as data_dir"
    splits = load_hub_splits(HUB_DATASET, name, remedy)
    rows = {}
    for split in ("train", *(split for split, _ in task.dev_files)):
        read = read_hub_split(splits, split, HUB_DATASET, task.columns)
        rows[split] = to_dataset(read, task.scheme.encode(read), task.scheme.problem_type)
    if unlabelled_split is None:
        return rows, None, []
    columns = replace(task.columns, label=None)
    return rows, texts_only(read_hub_split(splits, unlabelled_split, HUB_DATASET, columns)), []


def _from_files(name: str, task: GlueTask, data_dir: str | None, unlabelled_split: str | None) -> _Read:
    folder = _find_folder(name, Path(str(data_dir)).expanduser())
    rows: dict[str, Dataset] = {}
    files = []
    for split, stem in (("train", "train"), *task.dev_files):
        path = folder / f"{stem}.tsv"
        read = _read_file(path, task)
        rows[split] = to_dataset(read, task.file_scheme.encode(read), task.scheme.problem_type)
        files.append(path.name)
    if unlabelled_split is None:
        return rows, None, files
    path = folder / f"{unlabelled_split}.tsv"
    # The files to be answered have a header also where those with labels have none.
    texts = replace(task, header=None, file_columns=replace(task.file_columns, label=None))
    return rows, texts_only(_read_file(path, texts)), [*files, path.name]


def _find_folder(name: str, data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise InputError(
            f"data_dir {data_dir} is not a folder, so GLUE's files cannot be read from it; give the folder that holds "
            "SST-2, CoLA and the like."
        )
    for folder in sorted(data_dir.iterdir()):
        if folder.is_dir() and normalise(folder.name) == name:
            return folder
    if (data_dir / "train.tsv").is_file():
        return data_dir
    raise InputError(
        f"data_dir {data_dir} holds neither a folder for {name} nor a train.tsv, so its rows cannot be found; give "
        "GLUE's folder or the task's own."
    )


def _read_file(path: Path, task: GlueTask) -> Split:
    """Read one TSV file of GLUE as it is: quotes are text, and the few rows of QQP that are broken are left out."""
    lines = read_tab_separated(path)
    header = list(task.header or _header(path, task, lines))
    text, pair, label = (
        None if name is None else header.index(name)
        for name in (task.file_columns.text, task.file_columns.text_pair, task.file_columns.label)
    )
    split = Split(str(path), has_pairs=pair is not None)
    dropped = []
    for number, fields in lines:
        whole = len(fields) == len(header)
        values = [None if column is None else fields[column] for column in (text, pair, label)] if whole else []
        # MNLI writes "-" where the annotators did not agree on a label.
        if whole and all(value is None or value.strip() for value in values) and values[2] != "-":
            split.add(number, str(values[0]), *values[1:])
        else:
            dropped.append(number)
    if not len(split):
        raise InputError(
            f"{path} has no row of {len(header)} fields separated by tabs, as GLUE's file has, so it cannot be read; "
            "give GLUE's own file."
        )
    split.warn_of_dropped(dropped)
    return split


def _header(path: Path, task: GlueTask, lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, header = next(lines, (0, []))
    task.file_columns.check(header, str(path))
    return header
