"""Made-up figures for reports."""

from hf_distill.evaluation import ModelFigures


def make_figures(scale=1.0, parameters=1_000_000, **metrics):
    """A model of ``scale`` times the size and the time, with these scores on the validation rows."""
    return ModelFigures(
        parameters=int(parameters * scale),
        size_mb=4.0 * parameters / 1e6 * scale,
        metrics={"validation": metrics},
        latency_ms_median=10.0 * scale,
        latency_ms_p95=12.0 * scale,
        throughput=100.0 / scale,
    )
