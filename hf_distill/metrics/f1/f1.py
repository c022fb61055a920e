"""F1: the harmonic mean of precision and recall."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = "The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 0 where there is nothing to count."
INPUTS = """
Args:
    predictions: class indices ``(rows,)``, or 0/1 labels ``(rows, labels)``.
    references: the same shape.
    average: "binary" (of class `pos_label`, as GLUE does), "macro" (plain mean over the classes that occur) or
        "micro" (from the counts of all classes together).
    pos_label: the class that "binary" looks at.

Returns:
    ``{"f1": float}``, between 0 and 1.
"""


class F1(evaluate.Metric):
    """F1 with the averages that GLUE and its like need, as scikit-learn's ``f1_score`` with ``zero_division=0``."""

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        features = [
            datasets.Features({"predictions": kind, "references": kind}) for kind in (label, datasets.Sequence(label))
        ]
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(
        self, predictions: list, references: list, average: str = "binary", pos_label: int = 1
    ) -> dict[str, float]:
        predicted, actual = np.asarray(predictions), np.asarray(references)
        if average not in ("binary", "macro", "micro"):
            raise ValueError(f'average is {average!r}; it must be "binary", "macro" or "micro".')
        if predicted.ndim == 1:
            classes = np.union1d(predicted, actual)
            if average == "binary":
                if len(np.union1d(classes, [pos_label])) > 2:
                    raise ValueError(f'There are {len(classes)} classes; use average="macro" or "micro".')
                classes = np.asarray([pos_label])
            predicted, actual = predicted[:, None] == classes, actual[:, None] == classes
        elif average == "binary":
            raise ValueError('The rows hold several labels each; use average="macro" or "micro".')
        hits = (predicted & actual).sum(axis=0)
        counted = predicted.sum(axis=0) + actual.sum(axis=0)
        if average == "micro":
            hits, counted = hits.sum(keepdims=True), counted.sum(keepdims=True)
        return {"f1": float((2 * hits / np.maximum(counted, 1)).mean())}
