import numpy as np
import pytest
import statsmodels.api as sm

from hi_ml.statistics.means import design_effect


def test_it_is_the_ratio_of_a_cluster_robust_variance_to_a_robust_one():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(150), 4)
    arm = rng.random(600) < 0.4
    outcome = (rng.random(150)[cluster] + 0.1 * arm > 0.7).astype(float)
    model = sm.OLS(outcome, sm.add_constant(arm.astype(float)))
    plain = model.fit(cov_type="HC0").bse[1]
    grouped = model.fit(cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}).bse[1]
    assert design_effect(outcome, arm, cluster) == pytest.approx((grouped / plain) ** 2, rel=1e-8)
    assert design_effect(outcome, arm, cluster) > 1


def test_clusters_of_one_change_nothing_and_none_make_rows_count_for_more():
    outcome, arm = np.array([0, 1, 1, 0]), np.array([True, True, False, False])
    assert design_effect(outcome, arm, np.arange(4)) == 1.0
    assert design_effect(outcome, arm, np.array([0, 0, 1, 1])) == 1.0


def test_an_outcome_that_never_varies_has_no_design_effect():
    assert design_effect(np.zeros(6), np.arange(6) < 3, np.zeros(6, int)) == 1.0
