import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.groups import (
    Units,
    corrected_interval,
    corrected_p,
    group_means,
    mean_interval,
    ratio_interval,
    root_interval,
)

LEVELS = (0.90, 0.95)


def clustered(seed, *, groups=40, most=6):
    """Values that share a group effect, and their groups, in mixed order and with gaps in the numbers."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(7 * np.arange(groups), rng.integers(1, most, groups)))
    return rng.normal(size=7 * groups)[group] + rng.gamma(1.0, size=len(group)), group


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_group_means_are_those_of_a_loop(rows):
    group, values = np.array([g for g, _ in rows]), np.array([v for _, v in rows])
    expected = [np.mean([v for g, v in rows if g == one]) for one in sorted(set(group.tolist()))]
    np.testing.assert_allclose(group_means(values, group), expected, atol=1e-6)


def row_weights(group):
    """One over the size of each row's group: another way to count every group once."""
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    return 1.0 / size[code]


@pytest.mark.parametrize("level", LEVELS)
def test_the_mean_interval_is_the_cluster_robust_one_of_statsmodels(level):
    values, group = clustered(1)
    found = mean_interval(group_means(values, group), level=level)
    fit = sm.WLS(values, np.ones(len(values)), weights=row_weights(group)).fit(
        cov_type="cluster", cov_kwds={"groups": group, "df_correction": True}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - level)[0]
    # statsmodels' small-sample factor also counts rows, G/(G-1) * (N-1)/(N-1): the same with one parameter
    assert (found.value, found.low, found.high) == pytest.approx((fit.params[0], low, high), rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_the_ratio_interval_is_the_robust_regression_of_the_ratios(level):
    rng = np.random.default_rng(2)
    below = rng.gamma(2.0, size=60)
    above = 0.3 * below + rng.normal(size=60)
    found = ratio_interval(above, below, level=level)
    fit = sm.WLS(above / below, np.ones(60), weights=below).fit(cov_type="HC1", use_t=True)
    low, high = fit.conf_int(alpha=1 - level)[0]
    assert (found.value, found.low, found.high) == pytest.approx((fit.params[0], low, high), rel=1e-9)


def test_the_root_interval_is_the_root_of_the_means_interval_and_stops_at_zero():
    squares = np.array([0.0, 0.0, 0.0, 100.0])
    square, root = mean_interval(squares), root_interval(squares, np.ones(len(squares)))
    assert square.low < 0
    assert (root.value, root.low, root.high) == (5.0, 0.0, pytest.approx(square.high**0.5))


def test_equal_losses_have_a_ratio_of_exactly_zero():
    loss = np.random.default_rng(3).gamma(1.0, size=50)
    found = ratio_interval(loss - loss, loss)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_wider_level_gives_a_wider_interval():
    values, group = clustered(4)
    narrow, wide = (mean_interval(group_means(values, group), level=level) for level in LEVELS)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_mean_interval_covers_and_one_over_rows_would_not():
    """Rows of a group share an effect: 95 % is kept over groups and lost over rows."""
    repeats, groups, size = 600, 25, 8
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(groups), size)
    covered, naive = 0, 0
    for _ in range(repeats):
        values = rng.normal(size=groups)[group] + rng.normal(size=len(group))
        found = mean_interval(group_means(values, group))
        rows = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        covered += found.low <= 0 <= found.high
        naive += rows[0] <= 0 <= rows[1]
    assert stats.binomtest(covered, repeats, 0.95).pvalue > 0.001
    assert naive / repeats < 0.75


def test_the_ratio_interval_covers():
    repeats, rng = 600, np.random.default_rng(6)
    covered = 0
    for _ in range(repeats):
        below = rng.gamma(2.0, size=80)  # mean 2
        found = ratio_interval(below * rng.normal(0.1, 0.5, size=80), below)
        covered += found.low <= 0.1 <= found.high
    assert 0.925 <= covered / repeats <= 0.975


def recurring(seed, *, patients=60, copied=20):
    """Values with an effect of the patient, some admissions copied; rows in mixed order: values, copies, patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    twin = np.append(np.arange(len(patient)), rng.integers(0, len(patient), copied))
    order = rng.permutation(len(twin))
    twin, patient = twin[order], patient[twin[order]]
    return rng.normal(size=patients)[patient] + rng.gamma(1.0, size=len(twin)), 3 * twin, 5 * patient


def test_a_mean_is_per_admission_and_its_interval_is_clustered_by_patient():
    values, twin, patient = recurring(0)
    units = Units.of(twin, patient)
    fits = [
        sm.WLS(values, np.ones(len(values)), weights=row_weights(twin)).fit(
            cov_type="cluster", cov_kwds={"groups": code}, use_t=True
        )
        for code in (patient, twin)
    ]
    low, high = fits[0].conf_int()[0]
    found = units.ratio(values)
    assert (found.value, found.low, found.high) == pytest.approx((fits[0].params[0], low, high), rel=1e-9)
    assert found.value == pytest.approx(units.mean(values))
    assert units.design_effect(values) == pytest.approx((fits[0].bse[0] / fits[1].bse[0]) ** 2)
    assert units.design_effect(values) > 1.2
    assert (units.admissions, len(units)) == (len(np.unique(twin)), 60)


def test_a_ratio_is_of_sums_over_patients_and_its_error_that_of_the_jackknife():
    values, twin, patient = recurring(1, patients=300)
    below = np.random.default_rng(2).gamma(3.0, size=len(values))
    units = Units.of(twin, patient)
    above, under = units.sums(values), units.sums(below)
    found, all_but_one = units.ratio(values, below), (above.sum() - above) / (under.sum() - under)
    assert found.value == pytest.approx(
        np.average(values, weights=units.votes) / np.average(below, weights=units.votes)
    )
    error = np.sqrt(299 / 300 * ((all_but_one - all_but_one.mean()) ** 2).sum())
    assert (found.high - found.low) / 2 / stats.t.ppf(0.975, 299) == pytest.approx(error, rel=0.02)
    assert units.design_effect(values, below) > 1


def test_where_no_unit_repeats_every_number_is_that_of_the_groups_to_the_last_bit():
    values, group = clustered(3)
    units, means = Units.of(group, group), group_means(values, group)
    np.testing.assert_array_equal(units.sums(values), means)
    centre, error = float(means.mean()), np.sqrt(np.sum((means - means.mean()) ** 2) / (len(means) - 1) / len(means))
    reach = float(stats.t.ppf(0.975, len(means) - 1)) * float(error)
    found = units.ratio(values)
    assert (found.value, found.low, found.high) == (centre, centre - reach, centre + reach)
    np.testing.assert_array_equal(units.votes, row_weights(group))
    assert units.design_effect(values) == 1
    assert units.describe(1.0) == "40 admissions"


def test_copies_are_counted_anew_among_some_of_the_rows():
    units = Units.of(np.array([0, 0, 1, 2]), np.array([4, 4, 4, 5])).only(np.array([True, False, True, False]))
    np.testing.assert_array_equal(units.votes, [1, 1])
    assert (len(units), units.admissions, units.repeat) == (1, 2, True)


def test_rows_of_two_patients_are_no_copies():
    assert Units.of(np.zeros(3, dtype=int), np.array([0, 0, 1])).admissions == 2


@pytest.mark.parametrize(
    ("tables", "allowed"), [(200, 1e-4), pytest.param(2000, 0.001, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_mean_covers_where_those_who_come_often_differ(tables, allowed):
    """One vote a patient would miss: the value rises with how often he comes."""
    rng, held, missed = np.random.default_rng(7), 0, 0
    for _ in range(tables):
        patient = np.repeat(np.arange(150), rng.choice([1, 2, 6], p=[0.6, 0.3, 0.1], size=150))
        often = np.bincount(patient)
        values = (often + rng.normal(size=150))[patient] + rng.normal(size=len(patient))
        truth = (0.6 + 2 * 2 * 0.3 + 6 * 6 * 0.1) / (0.6 + 2 * 0.3 + 6 * 0.1)
        found, one_vote = Units.of(np.arange(len(patient)), patient).ratio(values), Units.of(patient).ratio(values)
        held += found.low <= truth <= found.high
        missed += not one_vote.low <= truth <= one_vote.high
    assert stats.binomtest(held, tables, 0.94).pvalue > allowed
    assert missed == tables


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


def test_what_one_unit_says_is_one_observation():
    units = Units.of(np.arange(4), np.zeros(4, dtype=np.int64))
    assert units.design_effect(np.array([1.0, 0.0, 1.0, 1.0])) == 4.0
