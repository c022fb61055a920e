"""The metrics of GLUE as local ``evaluate`` modules: numpy only, no network.

Each folder here is a module that ``evaluate.load(folder)`` accepts; `load_metric` makes one by name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import evaluate

METRIC_NAMES = ("accuracy", "f1", "matthews_correlation", "pearson", "spearman")


def load_metric(name: str) -> evaluate.EvaluationModule:
    """Make one of the package's metrics.

    The class is imported from the package rather than copied into the cache of ``evaluate``, and keeps its inputs in
    memory, so that processes that run at the same time share no file and no lock.

    Args:
        name: One of `METRIC_NAMES`.

    Returns:
        A metric whose ``compute(predictions=..., references=...)`` gives ``{name: float}``.

    Raises:
        ValueError: If there is no metric of that name.

    Example:
        >>> load_metric("accuracy").compute(predictions=[0, 1, 1], references=[0, 1, 0])
        {'accuracy': 0.6666666666666666}
    """
    if name not in METRIC_NAMES:
        raise ValueError(f"There is no metric {name!r}; the metrics are {', '.join(METRIC_NAMES)}.")
    module = importlib.import_module(f"{__name__}.{name}.{name}")
    metric_class: type[evaluate.Metric] = getattr(module, name.title().replace("_", ""))
    return metric_class(keep_in_memory=True)
