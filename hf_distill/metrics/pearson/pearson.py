"""Pearson correlation: STS-B's first metric."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = "The linear correlation of predictions with references, from -1 to 1; 0 for a constant prediction."
INPUTS = """
Args:
    predictions: scores ``(rows,)``.
    references: the same shape.

Returns:
    ``{"pearson": float}``.
"""


def pearson_correlation(predictions: np.ndarray, references: np.ndarray) -> float:
    """Pearson's r of two vectors, as ``scipy.stats.pearsonr`` except where one of them is constant.

    There r is undefined and SciPy gives NaN. Here it is 0, no linear relation, which is also what Matthews
    correlation gives: ``Trainer`` would keep a first checkpoint that scored NaN as the best for ever, since no later
    score compares as greater. A NaN or infinity in the input still gives NaN.

    Args:
        predictions: ``(rows,)``.
        references: ``(rows,)``.

    Returns:
        A value from -1 to 1, or NaN.
    """
    predictions, references = np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64)
    if not (np.isfinite(predictions).all() and np.isfinite(references).all()):
        return float("nan")
    if (predictions == predictions[0]).all() or (references == references[0]).all():
        return 0.0
    predictions, references = predictions - predictions.mean(), references - references.mean()
    cosine = (predictions / np.linalg.norm(predictions)) @ (references / np.linalg.norm(references))
    return float(np.clip(cosine, -1.0, 1.0))


class Pearson(evaluate.Metric):
    """Pearson correlation; see `pearson_correlation` for constant inputs."""

    def _info(self) -> evaluate.MetricInfo:
        score = datasets.Value("float64")
        features = datasets.Features({"predictions": score, "references": score})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        return {"pearson": pearson_correlation(np.asarray(predictions), np.asarray(references))}
