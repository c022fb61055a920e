"""Means, standard deviations and intervals, against numpy and scipy."""

import numpy as np
import pytest
from scipy import stats

from hf_distill.ablation.statistics import paired, sample, student_quantile

VALUES = [0.81, 0.835, 0.79, 0.822, 0.8]
REFERENCE = [0.80, 0.83, 0.80, 0.801, 0.81]


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 31, 100])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantile_is_scipy_s(degrees, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    assert student_quantile(degrees, confidence) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_mean_sd_and_interval(count):
    values = VALUES[:count]
    found = sample(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    low, high = stats.t.interval(0.95, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean - found.half_width == pytest.approx(low, rel=1e-10)
    assert found.mean + found.half_width == pytest.approx(high, rel=1e-10)


def test_paired_differences_are_those_of_a_paired_test():
    found = paired(VALUES, REFERENCE)
    expected = stats.ttest_rel(VALUES, REFERENCE).confidence_interval(0.95)
    assert found.mean - found.half_width == pytest.approx(expected.low, rel=1e-9)
    assert found.mean + found.half_width == pytest.approx(expected.high, rel=1e-9)
    unpaired = stats.ttest_ind(VALUES, REFERENCE).confidence_interval(0.95)
    assert found.half_width < (unpaired.high - unpaired.low) / 2


def test_a_single_value_has_a_mean_alone_and_none_has_nothing():
    assert (sample([0.5]).mean, sample([0.5]).sd, sample([0.5]).half_width) == (0.5, None, None)
    assert sample([None]) is None and sample([]) is None


def test_seeds_that_one_of_two_lacks_are_left_out():
    assert paired([1.0, None, 3.0], [0.5, 0.5, None]).values == (0.5,)
    assert paired([None, 1.0], [1.0, None]) is None
