import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.groups import corrected_interval, corrected_p

DIFFERENCES = st.lists(st.floats(-10, 10), min_size=2, max_size=12).map(np.array)


@given(DIFFERENCES, st.floats(0.05, 1))
def test_without_overlap_it_is_the_t_test_of_one_sample(differences, level):
    level = min(level, 0.99)
    if differences.std() < 1e-6:
        return
    oracle = stats.ttest_1samp(differences, 0)
    found, bounds = corrected_interval(differences, ratio=0.0, level=level), oracle.confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert corrected_p(differences, ratio=0.0) == pytest.approx(oracle.pvalue)


def test_overlap_widens_the_interval_by_the_factor_of_nadeau_and_bengio():
    differences = np.array([0.3, 0.1, 0.2, 0.4, 0.0])
    naive, corrected = (corrected_interval(differences, ratio=ratio) for ratio in (0.0, 0.25))
    assert (corrected.high - corrected.value) / (naive.high - naive.value) == pytest.approx(np.sqrt(1 + 5 * 0.25))
    assert corrected_p(differences, ratio=0.25) > corrected_p(differences, ratio=0.0)


@given(DIFFERENCES)
def test_the_interval_excludes_zero_where_p_is_small(differences):
    found, p = corrected_interval(differences, ratio=0.25), corrected_p(differences, ratio=0.25)
    if abs(p - 0.05) > 1e-9 and differences.std() > 1e-6:
        assert (found.low > 0 or found.high < 0) == (p < 0.05)


def test_two_that_never_differ_and_a_single_fold():
    assert corrected_p(np.zeros(5), ratio=0.25) == 1
    assert corrected_p(np.full(5, 0.1), ratio=0.25) == 0
    same = corrected_interval(np.zeros(5), ratio=0.25)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    single = corrected_interval(np.array([0.1]), ratio=0.25)
    assert (single.low, single.high) == (-np.inf, np.inf)
    assert corrected_p(np.array([0.1]), ratio=0.25) == 1
