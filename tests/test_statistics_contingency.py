import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from hi_ml.statistics import contingency
from hi_ml.statistics.contingency import association, can_vary, cramers_v, largest_share_gap
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.moments import clustered as clustered_by

MARGIN = Margin(0.05)
RNG = np.random.default_rng(1)


def cmh_by_hand(tables):
    """Follow Landis, Heyman & Koch stratum by stratum, with Kronecker products."""
    deviation, covariance, n = 0, 0, 0
    for table in tables:
        rows, columns, size = table.sum(1), table.sum(0), table.sum()
        deviation = deviation + (table - np.outer(rows, columns) / size)[:-1, :-1].ravel()
        left = (np.diag(rows) - np.outer(rows, rows) / size)[:-1, :-1]
        right = (np.diag(columns) - np.outer(columns, columns) / size)[:-1, :-1]
        covariance = covariance + np.kron(left, right) / (size - 1)
        n += size
    return deviation @ np.linalg.solve(covariance, deviation), deviation.size, n


def test_two_by_two_is_statsmodels_mantel_haenszel():
    tables = RNG.integers(5, 40, (6, 2, 2))
    oracle = StratifiedTable([table.astype(float) for table in tables]).test_null_odds()
    found = association(tables, margin=MARGIN)
    assert found.w.statistic == pytest.approx(oracle.statistic, rel=1e-10)
    assert found.w.p_zero == pytest.approx(oracle.pvalue, rel=1e-10)


def test_larger_tables_follow_the_definition():
    tables = RNG.integers(1, 30, (5, 4, 3)).astype(float)
    statistic, df, n = cmh_by_hand(tables)
    found = association(tables, margin=MARGIN)
    assert (found.w.statistic, found.w.df, found.w.n) == (pytest.approx(statistic, rel=1e-9), df, n)
    assert found.w.estimate == pytest.approx(np.sqrt(max(0, statistic - df) / n))


def test_one_stratum_is_pearsons_chi_square_but_for_one_observation():
    table = RNG.integers(5, 40, (4, 3))
    pearson = stats.chi2_contingency(table, correction=False)
    found = association(table[None], margin=MARGIN)
    assert found.w.statistic == pytest.approx(pearson.statistic * (table.sum() - 1) / table.sum(), rel=1e-10)
    assert found.sum_of_strata == pytest.approx(pearson.statistic)
    assert (found.sum_df, found.p_sum) == (pearson.dof, pytest.approx(pearson.pvalue))
    np.testing.assert_allclose(found.expected, pearson.expected_freq)


def test_residuals_of_one_stratum_are_adjusted_standardised():
    table = RNG.integers(5, 40, (4, 3)).astype(float)
    n = table.sum()
    expected = stats.contingency.expected_freq(table)
    margins = np.outer(1 - table.sum(1) / n, 1 - table.sum(0) / n)
    by_hand = (table - expected) / np.sqrt(expected * margins * n / (n - 1))
    np.testing.assert_allclose(association(table[None], margin=MARGIN).residuals, by_hand, rtol=1e-10)


def test_empty_levels_and_tiny_strata_change_nothing():
    tables = RNG.integers(5, 30, (3, 3, 3)).astype(float)
    padded = np.zeros((5, 4, 4))
    padded[:3, :3, :3] = tables
    padded[3, 0, 0] = 1
    plain, more = association(tables, margin=MARGIN), association(padded, margin=MARGIN)
    assert (more.w.statistic, more.w.df) == (pytest.approx(plain.w.statistic), plain.w.df)
    assert (more.sum_of_strata, more.sum_df) == (pytest.approx(plain.sum_of_strata), plain.sum_df)


def test_strata_that_reverse_cancel_in_w_and_show_in_the_sum():
    tables = np.array([[[80, 20], [20, 80]], [[20, 80], [80, 20]]])
    found = association(tables, margin=MARGIN)
    assert found.w.p_zero > 0.9
    assert found.p_sum < 1e-10


def test_what_cannot_vary():
    assert can_vary([[[1, 0], [0, 1]]])
    assert not can_vary([[[5, 0], [3, 0]]])
    assert not can_vary([[[5, 2], [0, 0]], [[0, 0], [2, 5]]])
    assert not can_vary(np.zeros((0, 0, 0)))


def test_cramers_v_is_bergsmas():
    table = np.array([[30, 12, 9], [14, 33, 11], [10, 12, 37]])
    n, (r, c) = table.sum(), table.shape
    phi2 = stats.chi2_contingency(table, correction=False).statistic / n - (r - 1) * (c - 1) / (n - 1)
    levels = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1))
    assert cramers_v(table) == pytest.approx(np.sqrt(phi2 / (levels - 1)))
    assert cramers_v(table) < stats.contingency.association(table, method="cramer")
    assert cramers_v(np.full((3, 3), 10)) == 0.0


def test_the_largest_share_gap():
    assert largest_share_gap([[50, 50], [30, 70], [45, 55]]) == (0, 1, 0, pytest.approx(0.2))


@pytest.mark.slow
@pytest.mark.parametrize(("true", "lowest", "highest"), [(0.0, 0.955, 0.995), (0.06, 0.92, 0.975)])
def test_the_interval_of_w_covers(true, lowest, highest):
    rng = np.random.default_rng(2)
    insurers, types = np.array([1, 1, -1, -1, 0]), np.array([1, -1, 0])
    shape = 1 + true * np.outer(insurers, types) / np.sqrt(0.8 * 2 / 3)
    chances = np.repeat((shape / 15)[None], 10, axis=0) / 10
    covered = 0
    for _ in range(400):
        tables = rng.multinomial(5000, chances.ravel()).reshape(10, 5, 3)
        w = association(tables, margin=MARGIN).w
        covered += w.low <= true <= w.high
    assert lowest <= covered / 400 <= highest


@pytest.mark.parametrize("clustered", [False, True])
def test_the_closed_form_of_one_stratum_is_the_dense_one(clustered, monkeypatch):
    rng = np.random.default_rng(3)
    cell, patient = rng.integers(0, 35, 900), rng.integers(0, 300, 900)
    cell = np.where(cell == 6, 7, cell)  # an empty cell
    table = np.bincount(cell, minlength=35).reshape(1, 5, 7).astype(float)
    clusters = clustered_by(np.ones(900), np.ones(900), cell, patient, 35) if clustered else None
    dense = association(table, margin=MARGIN, clusters=clusters)
    monkeypatch.setattr(contingency, "DENSE", 0)
    closed = association(table, margin=MARGIN, clusters=clusters)
    np.testing.assert_allclose(closed.residuals, dense.residuals, rtol=1e-9, atol=1e-12)
    for name in ("estimate", "low", "high", "p_above", "df", "n", "n_needed", "design_effect"):
        assert getattr(closed.w, name) == pytest.approx(getattr(dense.w, name), rel=1e-8), name
    assert closed.w.units == dense.w.units
    if not clustered:
        assert closed.w.statistic == pytest.approx(dense.w.statistic, rel=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
def test_thousands_of_levels_cost_seconds_and_flat_memory(clustered):
    rng = np.random.default_rng(4)
    n, codes, groups = 40_000, 2_254, 9
    cell = rng.integers(0, groups, n) * codes + rng.integers(0, codes, n)
    table = np.bincount(cell, minlength=codes * groups).reshape(1, groups, codes).astype(float)
    patients = clustered_by(np.ones(n), np.ones(n), cell, rng.integers(0, 25_000, n), codes * groups)
    tracemalloc.start()
    started = time.process_time()
    found = association(table, margin=MARGIN, clusters=patients if clustered else None)
    assert time.process_time() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    assert found.w.df == (groups - 1) * (codes - 1)
    assert 0.01 < found.w.p_zero < 0.99
    assert clustered or found.residuals.std() == pytest.approx(1, abs=0.03)
