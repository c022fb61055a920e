"""Matthews correlation: CoLA's metric."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = "The correlation of predicted with actual classes, from -1 to 1; 0 for a constant prediction."
INPUTS = """
Args:
    predictions: class indices ``(rows,)``, of two or more classes.
    references: the same shape.

Returns:
    ``{"matthews_correlation": float}``.
"""
CITATION = "Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient"


class MatthewsCorrelation(evaluate.Metric):
    """Matthews correlation for any number of classes, as scikit-learn's ``matthews_corrcoef``.

    Where predictions or references are all of one class it is undefined, and 0 by convention.
    """

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        features = datasets.Features({"predictions": label, "references": label})
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation=CITATION, inputs_description=INPUTS, features=features
        )

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        classes, codes = np.unique(np.concatenate([predictions, references]), return_inverse=True)
        predicted, actual = np.split(codes.reshape(-1), 2)
        # Python integers: the products below pass 2**63 for large data sets.
        predicted_counts = [int(count) for count in np.bincount(predicted, minlength=len(classes))]
        actual_counts = [int(count) for count in np.bincount(actual, minlength=len(classes))]
        rows = len(actual)
        hits = int((predicted == actual).sum())
        covariance = hits * rows - sum(p * a for p, a in zip(predicted_counts, actual_counts, strict=True))
        predicted_variance = rows**2 - sum(p * p for p in predicted_counts)
        actual_variance = rows**2 - sum(a * a for a in actual_counts)
        if predicted_variance == 0 or actual_variance == 0:
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": covariance / (predicted_variance * actual_variance) ** 0.5}
