"""Accuracy: the share of rows that are predicted exactly."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = (
    "The share of rows whose prediction equals the reference; a multi-label row counts when all its labels do."
)
INPUTS = """
Args:
    predictions: class indices ``(rows,)``, or 0/1 labels ``(rows, labels)``.
    references: the same shape.

Returns:
    ``{"accuracy": float}``, between 0 and 1.
"""


class Accuracy(evaluate.Metric):
    """Share of exact matches; for multi-label rows the subset accuracy, as scikit-learn's ``accuracy_score``."""

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        features = [
            datasets.Features({"predictions": kind, "references": kind}) for kind in (label, datasets.Sequence(label))
        ]
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        equal = np.asarray(predictions) == np.asarray(references)
        return {"accuracy": float(equal.reshape(len(equal), -1).all(axis=1).mean())}
