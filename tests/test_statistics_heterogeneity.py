import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from hi_ml.statistics.means import cochran_q


def test_q_is_that_of_a_meta_analysis():
    estimates, errors = np.array([0.3, 0.1, 0.9, -0.2]), np.array([0.2, 0.3, 0.25, 0.4])
    oracle = combine_effects(estimates, errors**2, method_re="dl")
    found = cochran_q(estimates, errors)
    assert (found.q, found.df) == (pytest.approx(oracle.q), 3)
    assert found.p_value == pytest.approx(oracle.test_homogeneity().pvalue)
