"""Patients with several rows: every estimate against row-wise influence functions, and against none that repeats."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from hi_ml.statistics.contingency import association
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.means import (
    cochran_q,
    contrast,
    differences,
    excess_kurtosis,
    mean_limits,
    one_way,
    probability_of_exceeding,
)
from hi_ml.statistics.moments import Clusters, clustered, moments
from hi_ml.statistics.proportions import Share, difference_of_shares, share_difference, share_trend
from hi_ml.statistics.regression import within_strata

N, MARGIN = 400, Margin(0.3)
RNG = np.random.default_rng(5)
UNIT = np.sort(RNG.integers(0, 120, N))
GROUP, STRATUM, COLUMN = RNG.integers(0, 3, N), RNG.integers(0, 4, N), RNG.integers(0, 3, N)
VALUE = RNG.normal(size=UNIT.max() + 1)[UNIT] + RNG.normal(size=N) * (1 + GROUP) + 5
ROWS = np.arange(N)


def by_patient(scores, unit=UNIT):
    """Add up the rows of each patient, one at a time."""
    total = {}
    for patient, score in zip(unit, scores, strict=True):
        total[patient] = total.get(patient, 0.0) + score
    return np.array(list(total.values()))


def influence(weights, values=VALUE, group=GROUP, unit=UNIT):
    """What each row adds to a weighted sum of group means, and the clusters of each group."""
    scores, parts, clusters = np.zeros(len(values)), [], []
    for code, weight in enumerate(weights):
        rows = group == code
        k = len(set(unit[rows]))
        own = np.where(rows, (values - values[rows].mean()) / rows.sum(), 0.0) * np.sqrt(k / (k - 1))
        scores += weight * own
        parts.append(weight**2 * (by_patient(own, unit) ** 2).sum())
        clusters.append(k)
    return scores, np.array(parts), np.array(clusters)


@pytest.mark.parametrize("weights", [[1, -1, 0.0], [0.5, 0.5, -1]])
def test_a_contrast_is_that_of_row_wise_influence(weights):
    scores, parts, clusters = influence(weights)
    variance = (by_patient(scores) ** 2).sum()
    df = min(parts.sum() ** 2 / (parts**2 / (clusters - 1)).sum(), len(set(UNIT)) - 1)
    effect = contrast(moments(VALUE, GROUP, 3, UNIT), weights, margin=MARGIN)
    error = (effect.high - effect.estimate) / stats.t.isf(0.025, df)
    assert (effect.df, error) == (pytest.approx(df), pytest.approx(np.sqrt(variance)))
    assert effect.units == len(set(UNIT))
    plain = contrast(moments(VALUE, GROUP, 3), weights, margin=MARGIN)
    assert (effect.estimate, effect.n) == (pytest.approx(plain.estimate), plain.n)
    wide = (plain.high - plain.estimate) / stats.t.isf(0.025, plain.df)
    assert effect.design_effect == pytest.approx(variance / wide**2)


def test_without_covariance_across_arms_it_is_the_robust_regression():
    arm = UNIT % 2  # of the patient
    effect = contrast(moments(VALUE, arm, 2, UNIT), [1, -1], margin=MARGIN)
    fit = sm.OLS(VALUE, sm.add_constant(arm.astype(float)))
    robust = fit.fit(cov_type="cluster", cov_kwds={"groups": UNIT, "use_correction": False}).bse[1]
    k = np.array([len(set(UNIT[arm == side])) for side in (0, 1)])
    assert abs(effect.estimate / effect.statistic) == pytest.approx(robust * np.sqrt(k / (k - 1)).mean(), rel=1e-3)


def test_rows_of_patients_who_never_return_say_what_rows_say():
    alone, plain = moments(VALUE, GROUP, 3, ROWS), moments(VALUE, GROUP, 3)
    for weights in ([1, -1, 0], [1, 1, -2]):
        one, other = (vars(contrast(groups, weights, margin=MARGIN)) for groups in (alone, plain))
        for name in ("low", "high90", "p_zero", "p_above", "df", "n_needed"):
            assert one[name] == pytest.approx(other[name], rel=1e-10), name
    one, other = one_way(alone, margin=MARGIN), one_way(plain, margin=MARGIN)
    assert (one.p_zero, one.high, one.p_above) == pytest.approx((other.p_zero, other.high, other.p_above), rel=1e-9)
    np.testing.assert_allclose(mean_limits(alone), mean_limits(plain))
    cells = [moments(VALUE, STRATUM * 3 + GROUP, 12, unit) for unit in (ROWS, None)]
    one, other = (within_strata(groups, 3, margin=MARGIN) for groups in cells)
    assert one.design_effect == pytest.approx(1.0)
    assert (one.statistic, one.high) == pytest.approx((other.statistic, other.high), rel=1e-9)


def test_differences_are_contrasts_pair_by_pair():
    groups = moments(VALUE, GROUP, 3, UNIT)
    rest = groups.pooled([[0, 1, 2]] * 3).less(groups)
    found = differences(groups, rest)
    for code in range(3):
        two = moments(VALUE, (code != GROUP).astype(int), 2, UNIT)
        effect = contrast(two, [1, -1], margin=MARGIN)
        assert found.estimate[code] == pytest.approx(effect.estimate)
        assert found.error[code] == pytest.approx(effect.estimate / effect.statistic)


def test_stacked_pieces_that_tear_no_patient_are_the_whole():
    whole = moments(VALUE, GROUP, 3, UNIT)
    first = UNIT < 60
    pieces = [moments(VALUE[rows], GROUP[rows], 3, UNIT[rows]) for rows in (first, ~first)]
    n, total, squares = (sum(getattr(piece, name) for piece in pieces) for name in ("n", "total", "squares"))
    centre = total / n
    deviations = np.vstack([piece.clusters.deviations(centre).toarray() for piece in pieces])
    np.testing.assert_allclose((deviations**2).sum(axis=0), whole.clusters.deviations(centre).power(2).sum(axis=0))
    np.testing.assert_allclose((n, total, squares), (whole.n, whole.total, whole.squares))


def test_a_robust_one_way_test_is_the_wald_test_of_the_means():
    effect = one_way(moments(VALUE, GROUP, 3, UNIT), margin=MARGIN)
    scores = np.array([influence(row)[0] for row in np.eye(3)])
    sums = np.array([by_patient(row) for row in scores])
    covariance = sums @ sums.T
    differ = np.array([[1, 0, -1], [0, 1, -1]])
    gap = differ @ [VALUE[code == GROUP].mean() for code in range(3)]
    wald = gap @ np.linalg.solve(differ @ covariance @ differ.T, gap) / 2
    # Welch's correction, of the patients of each group
    weight = 1 / np.diag(covariance)
    clusters = influence([1, 1, 1])[2]
    spare = ((1 - weight / weight.sum()) ** 2 / (clusters - 1)).sum()
    assert effect.statistic == pytest.approx(wald / (1 + 2 * spare / 8))
    assert effect.p_zero == pytest.approx(stats.f.sf(effect.statistic, 2, min(8 / (3 * spare), len(set(UNIT)) - 2)))
    plain = one_way(moments(VALUE, GROUP, 3), margin=MARGIN)
    naive = np.diag([VALUE[code == GROUP].var(ddof=1) / (code == GROUP).sum() for code in range(3)])
    inflation = np.trace(np.linalg.solve(differ @ naive @ differ.T, differ @ covariance @ differ.T)) / 2
    assert effect.design_effect == pytest.approx(inflation)
    assert effect.estimate**2 == pytest.approx(max(0, 2 * (plain.statistic - inflation) / N))


def cells_of(unit=UNIT, keep=slice(None)):
    rows = STRATUM[keep], GROUP[keep], COLUMN[keep]
    tables = np.zeros((4, 3, 3))
    np.add.at(tables, rows, 1)
    ones = np.ones(len(rows[0]))
    return tables, clustered(ones, ones, rows[0] * 9 + rows[1] * 3 + rows[2], unit[keep], 36)


def test_the_robust_association_is_the_score_test_row_by_row():
    tables, clusters = cells_of()
    found = association(tables, margin=MARGIN, clusters=clusters)
    scores, excess = np.zeros((N, 3, 3)), np.zeros((3, 3))
    for row in range(N):
        here = STRATUM[row] == STRATUM
        k = len(set(UNIT[here]))
        p = np.array([(GROUP[here] == level).mean() for level in range(3)])
        q = np.array([(COLUMN[here] == level).mean() for level in range(3)])
        own = np.outer(np.eye(3)[GROUP[row]] - p, np.eye(3)[COLUMN[row]] - q)
        excess += own
        scores[row] = np.sqrt(k / (k - 1)) * own
    sums = by_patient(scores)
    robust = sums[:, :-1, :-1].reshape(len(sums), -1)
    deviation = excess[:-1, :-1].ravel()
    statistic = deviation @ np.linalg.solve(robust.T @ robust, deviation)
    assert found.w.statistic == pytest.approx(statistic)
    assert found.w.p_zero == pytest.approx(stats.f.sf(statistic / 4, 4, len(sums) - 4))
    np.testing.assert_allclose(found.residuals, excess / np.sqrt((sums**2).sum(axis=0)))
    plain = association(tables, margin=MARGIN)
    inflation = found.w.design_effect
    assert found.w.estimate**2 == pytest.approx(max(0, (plain.w.statistic - 4 * inflation) / N))
    assert (found.w.n, found.w.units) == (N, len(sums))


def test_a_stratum_of_one_patient_tells_nothing():
    one = np.where(STRATUM == 3, -1, UNIT)
    tables, clusters = cells_of(one)
    kept, others = cells_of(one, STRATUM < 3)
    found, without = (
        association(some, margin=MARGIN, clusters=who)
        for some, who in ((tables, clusters), (kept[:3], others.at(range(27))))
    )
    assert found.w == without.w


def test_within_strata_is_the_cluster_robust_regression():
    cells = moments(VALUE, STRATUM * 3 + GROUP, 12, UNIT)
    effect = within_strata(cells, 3, margin=MARGIN)
    design = np.column_stack([np.eye(3)[GROUP][:, :-1], np.eye(4)[STRATUM]])
    fit = sm.OLS(VALUE, design).fit(cov_type="cluster", cov_kwds={"groups": UNIT})
    assert effect.statistic == pytest.approx(fit.wald_test(np.eye(2, 6), use_f=False, scalar=True).statistic)
    assert effect.p_zero == pytest.approx(stats.f.sf(effect.statistic / 2, 2, len(set(UNIT)) - 2))


def test_shares_shrink_by_the_design_effect_of_their_difference():
    outcome, arm = (VALUE > 5.5).astype(float), (GROUP > 0).astype(int)
    groups = moments(outcome, arm, 2, UNIT)
    effect, clustered_effect = difference_of_shares(groups, margin=MARGIN), contrast(groups, [1, -1], margin=MARGIN)
    assert effect.design_effect == clustered_effect.design_effect != 1.0
    shares = [Share(outcome[arm == side].sum(), (arm == side).sum()) for side in (0, 1)]
    plain = share_difference(*shares, margin=MARGIN)
    wider = np.sqrt(effect.design_effect) * stats.t.isf(0.025, clustered_effect.df) / stats.norm.isf(0.025)
    assert effect.statistic == pytest.approx(plain.statistic / wider)
    assert difference_of_shares(moments(outcome, arm, 2), margin=MARGIN) == plain
    assert difference_of_shares(moments(0 * outcome, arm, 2, UNIT), margin=MARGIN).p_zero == 1.0


def test_the_slope_of_a_share_is_that_of_row_wise_influence():
    outcome, score = (VALUE > 5.5).astype(float), np.array([1.0, 2.0, 5.0])
    groups = moments(outcome, GROUP, 3, UNIT)
    found = share_trend(groups.total, groups.n, score, clusters=groups)
    plain = share_trend(groups.total, groups.n, score)
    centred = score[GROUP] - score[GROUP].mean()
    weights = [(centred * (code == GROUP)).sum() / (centred**2).sum() for code in range(3)]
    robust = (by_patient(influence(weights, outcome)[0]) ** 2).sum()
    naive = sum(w**2 * outcome[code == GROUP].var(ddof=1) / (code == GROUP).sum() for code, w in enumerate(weights))
    assert found.z == pytest.approx(plain.z / np.sqrt(robust / naive))
    assert found.slope.value == plain.slope.value


def test_ranks_have_the_error_of_their_placements():
    first, second = GROUP == 0, GROUP == 1
    found = probability_of_exceeding(VALUE[first], VALUE[second], (UNIT[first], UNIT[second]))
    above = (VALUE[first][:, None] > VALUE[second]).astype(float)
    placements = np.append(above.mean(axis=1), above.mean(axis=0))
    unit, side = np.append(UNIT[first], UNIT[second]), np.repeat([0, 1], [first.sum(), second.sum()])
    scores, _, _ = influence([1, 1], placements, side, unit)
    assert found.value == pytest.approx(above.mean())
    half = (found.high - found.low) / 2
    assert half / np.sqrt((by_patient(scores, unit) ** 2).sum()) == pytest.approx(1.97, abs=0.03)
    alone = probability_of_exceeding(VALUE[first], VALUE[second], (ROWS[first], ROWS[second]))
    plain = probability_of_exceeding(VALUE[first], VALUE[second])
    assert (alone.value, alone.low) == pytest.approx((plain.value, plain.low), abs=2e-3)


def test_dependent_estimates_disagree_by_their_covariance():
    estimates, errors = np.array([0.3, 0.1, 0.9]), np.array([0.2, 0.3, 0.25])
    plain, same = cochran_q(estimates, errors), cochran_q(estimates, errors, np.diag(errors**2))
    assert (same.q, same.p_value, same.df) == pytest.approx((plain.q, plain.p_value, plain.df))
    shared = np.diag(errors**2) + 0.03  # what all share, none disagrees by
    assert cochran_q(estimates, errors, shared).q == pytest.approx(plain.q)


def test_kurtosis_is_that_of_the_rows_or_of_the_patients():
    rng = np.random.default_rng(0)
    assert excess_kurtosis(rng.normal(size=20_000), np.zeros(20_000, int)) == pytest.approx(0, abs=0.15)
    assert excess_kurtosis(rng.exponential(size=200_000), np.zeros(200_000, int)) == pytest.approx(6, abs=1)
    values = rng.exponential(size=(4_000, 50))  # fifty of one patient add up to what is nearly normal
    unit = np.repeat(np.arange(4_000), 50)
    assert excess_kurtosis(values.ravel(), np.zeros(200_000, int), unit) == pytest.approx(6 / 50, abs=0.3)
    assert excess_kurtosis(np.ones(9), np.zeros(9, int)) == 0.0


def test_patients_of_unlike_sizes_count_for_fewer():
    sizes = clustered(np.array([30.0, 1, 1, 1]), np.zeros(4), np.zeros(4, int), np.arange(4), 2)
    assert isinstance(sizes, Clusters)
    assert sizes.effective.tolist() == [33**2 / 903, 0.0]
    assert sizes.per_group.tolist() == [4, 0]
