"""Spearman rank correlation: STS-B's second metric."""

import datasets
import evaluate
import numpy as np

from hf_distill.metrics.pearson.pearson import pearson_correlation

DESCRIPTION = "The Pearson correlation of the ranks, from -1 to 1; tied values share the mean of their ranks."
INPUTS = """
Args:
    predictions: scores ``(rows,)``.
    references: the same shape.

Returns:
    ``{"spearman": float}``.
"""


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, where tied values share the mean of the ranks they cover.

    Args:
        values: ``(rows,)``, without NaN.

    Returns:
        ``(rows,)`` in float64, as ``scipy.stats.rankdata``.
    """
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(sizes)
    return (last_rank - (sizes - 1) / 2)[group.reshape(-1)]


class Spearman(evaluate.Metric):
    """Spearman correlation, as ``scipy.stats.spearmanr``; 0 for a constant input, NaN for a NaN."""

    def _info(self) -> evaluate.MetricInfo:
        score = datasets.Value("float64")
        features = datasets.Features({"predictions": score, "references": score})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        predicted, actual = np.asarray(predictions), np.asarray(references)
        if np.isnan(predicted).any() or np.isnan(actual).any():
            return {"spearman": float("nan")}
        return {"spearman": pearson_correlation(average_ranks(predicted), average_ranks(actual))}
