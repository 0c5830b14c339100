import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics.means import probability_of_exceeding


def test_the_estimate_counts_all_pairs_with_ties_half():
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 9, 30), rng.integers(1, 8, 25)
    expected = np.mean((x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None]))
    found = probability_of_exceeding(x, y)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


@pytest.mark.parametrize("shift", [0.0, 0.6, 1.5])
def test_the_interval_excludes_one_half_when_brunner_and_munzel_reject(shift):
    rng = np.random.default_rng(1)
    x, y = rng.normal(shift, 1, 20), rng.normal(0, 2, 30)
    found = probability_of_exceeding(x, y)
    p_value = stats.brunnermunzel(x, y).pvalue
    assert (found.low > 0.5 or found.high < 0.5) == (p_value < 0.05)
    error = (found.value - 0.5) / abs(stats.brunnermunzel(x, y).statistic)
    assert abs(error) < found.high - found.low


def test_samples_apart_leave_no_doubt():
    found = probability_of_exceeding([5, 6, 7], [1, 2])
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
