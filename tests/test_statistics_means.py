import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.oneway import anova_oneway, equivalence_oneway
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from hi_ml.statistics import means
from hi_ml.statistics.estimates import Margin
from hi_ml.statistics.groups import Units
from hi_ml.statistics.means import (
    cochran_q,
    comparable,
    contrast,
    differences,
    largest_gap,
    mean_limits,
    one_way,
    probability_of_exceeding,
    standardised_difference,
)
from hi_ml.statistics.moments import Moments, moments

RNG = np.random.default_rng(3)


def against_the_rest(values, inside, group, *, margin):
    """The comparison of rows that are copies where their numbers are equal."""
    inside, units = np.asarray(inside), Units.of(group)
    return means.against_the_rest(values, means.Side.of(inside, units), means.Side.of(~inside, units), margin=margin)


SAMPLES = [RNG.normal(10, 1, 40), RNG.gamma(2, 5, 90), RNG.uniform(0, 30, 55)]
GROUPS = moments(np.concatenate(SAMPLES), np.repeat([0, 1, 2], [40, 90, 55]), 3)


def test_a_contrast_of_two_is_welch():
    pair = GROUPS.at([0, 1])
    effect = contrast(pair, [1, -1], margin=Margin(2.0))
    compare = CompareMeans(DescrStatsW(SAMPLES[0]), DescrStatsW(SAMPLES[1]))
    np.testing.assert_allclose([effect.low, effect.high], compare.tconfint_diff(usevar="unequal"), rtol=1e-9)
    np.testing.assert_allclose(
        [effect.low90, effect.high90], compare.tconfint_diff(alpha=0.1, usevar="unequal"), rtol=1e-9
    )
    assert effect.p_zero == pytest.approx(compare.ttest_ind(usevar="unequal")[1], rel=1e-9)
    p_tost, _, below = ttost_ind(SAMPLES[0], SAMPLES[1], -2.0, 2.0, usevar="unequal")
    assert effect.p_outside == pytest.approx(p_tost, rel=1e-9)
    assert effect.p_above == pytest.approx(below[1], rel=1e-9)


def test_a_contrast_of_four_is_the_difference_of_two_differences():
    four = moments(RNG.normal(size=200), np.repeat([0, 1, 2, 3], 50), 4)
    first, second = (contrast(four.at(pair), [1, -1], margin=Margin(1.0)) for pair in ([0, 1], [2, 3]))
    both = contrast(four, [1, -1, -1, 1], margin=Margin(1.0))
    assert both.estimate == pytest.approx(first.estimate - second.estimate)
    errors = [effect.estimate / effect.statistic for effect in (first, second, both)]
    assert errors[2] == pytest.approx(np.hypot(errors[0], errors[1]))


def test_many_differences_are_as_many_contrasts():
    many = differences(GROUPS.at([0, 1]), GROUPS.at([2, 2]))
    low, high = many.limits()
    for place in (0, 1):
        one = contrast(GROUPS.at([place, 2]), [1, -1], margin=Margin(1.0))
        assert (many.estimate[place], low[place], high[place]) == pytest.approx((one.estimate, one.low, one.high))
        assert many.p_value[place] == pytest.approx(one.p_zero)


def test_pairs_are_comparable_when_large_enough_and_varying():
    first = Moments(np.array([5.0, 1.0, 5.0]), np.array([5.0, 1.0, 5.0]), np.array([5.0, 1.0, 9.0]))
    second = Moments(np.array([5.0, 5.0, 5.0]), np.array([5.0, 5.0, 5.0]), np.array([5.0, 9.0, 5.0]))
    assert comparable(first, second, 2).tolist() == [False, False, True]


def test_one_way_is_welchs_and_its_absence_test_is_statsmodels():
    effect = one_way(GROUPS, margin=Margin(0.4))
    assert effect.p_zero == pytest.approx(anova_oneway(SAMPLES, use_var="unequal").pvalue, rel=1e-9)
    oracle = equivalence_oneway(SAMPLES, 0.4**2, use_var="unequal", margin_type="f2")
    assert effect.p_above == pytest.approx(oracle.pvalue, rel=1e-8)


def test_the_largest_gap_is_found_among_all_pairs_with_bonferroni():
    higher, lower, gap = largest_gap(GROUPS)
    means = [sample.mean() for sample in SAMPLES]
    assert (higher, lower) == (int(np.argmax(means)), int(np.argmin(means)))
    interval = stats.ttest_ind(SAMPLES[higher], SAMPLES[lower], equal_var=False).confidence_interval(1 - 0.05 / 3)
    assert (gap.low, gap.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_mean_limits_are_students_and_missing_for_a_single_value():
    groups = moments(np.append(SAMPLES[0], 4.0), np.append(np.zeros(40, int), 1), 2)
    low, high = mean_limits(groups)
    law = stats.t(39, loc=SAMPLES[0].mean(), scale=stats.sem(SAMPLES[0]))
    assert (low[0], high[0]) == pytest.approx(law.interval(0.95))
    assert np.isnan([low[1], high[1]]).all()


def test_the_standardised_difference_divides_by_the_root_mean_variance():
    difference = standardised_difference(GROUPS.at([0]), GROUPS.at([1]))
    spread = np.sqrt((SAMPLES[0].var(ddof=1) + SAMPLES[1].var(ddof=1)) / 2)
    assert difference[0] == pytest.approx((SAMPLES[0].mean() - SAMPLES[1].mean()) / spread)


def planted(n=600, *, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    inside = rng.random(n) < 0.3
    return rng.gamma(2, 2, n) + shift * inside, inside


def test_without_shared_groups_it_is_welchs_test():
    values, inside = planted()
    found = against_the_rest(values, inside, np.arange(600), margin=1.0)
    oracle = stats.ttest_ind(values[inside], values[~inside], equal_var=False)
    assert found.p_zero == pytest.approx(oracle.pvalue)
    assert found.df == pytest.approx(oracle.df)
    np.testing.assert_allclose([found.low, found.high], oracle.confidence_interval(0.95))


def test_the_rows_of_a_group_are_averaged():
    values, inside = planted()
    group = np.arange(600) // 2
    inside = inside[::2].repeat(2)
    found = against_the_rest(values, inside, group, margin=1.0)
    means = values.reshape(-1, 2).mean(axis=1)
    oracle = stats.ttest_ind(means[inside[::2]], means[~inside[::2]], equal_var=False)
    assert found.p_zero == pytest.approx(oracle.pvalue)


def test_groups_on_both_sides_are_compared_with_themselves():
    """Pairs of like values, one on each side: the difference is sure, however far the pairs lie apart."""
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 100, 200)
    values = np.column_stack([centre, centre + 1 + rng.normal(0, 0.1, 200)]).ravel()
    found = against_the_rest(values, np.tile([False, True], 200), np.arange(400) // 2, margin=1.0)
    assert found.estimate == pytest.approx(1, abs=0.05)
    paired = stats.ttest_1samp(values[1::2] - values[::2], 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], paired, rtol=0.01)


@pytest.mark.slow
def test_the_interval_is_that_of_the_group_bootstrap():
    rng = np.random.default_rng(1)
    group = rng.integers(0, 400, 800)
    values = rng.gamma(2, 2, 400)[group] + rng.normal(size=800)
    inside = rng.random(800) < 0.4
    found = against_the_rest(values, inside, group, margin=1.0)
    rows = [np.flatnonzero(group == g) for g in np.unique(group)]

    def difference(groups):
        here, there = (
            np.mean([values[rows[g]][side[rows[g]]].mean() for g in groups if side[rows[g]].any()])
            for side in (inside, ~inside)
        )
        return here - there

    drawn = [difference(rng.integers(0, len(rows), len(rows))) for _ in range(600)]
    assert found.estimate == pytest.approx(difference(range(len(rows))))
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.1)


def test_equivalence_is_two_one_sided_tests():
    values, inside = planted(shift=0.0)
    found = against_the_rest(values, inside, np.arange(600), margin=2.0)
    up, down = values[inside] + 2.0, values[inside] - 2.0
    sides = [
        stats.ttest_ind(up, values[~inside], equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(down, values[~inside], equal_var=False, alternative="less").pvalue,
    ]
    assert found.p_outside == pytest.approx(max(sides))


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        (np.arange(5.0), [True, False, False, False, False]),
        (np.arange(5.0), [True] * 5),
        (np.full(5, 0.1), [True, True, False, False, False]),
    ],
)
def test_one_group_on_a_side_or_values_that_never_vary_cannot_be_compared(values, inside):
    assert against_the_rest(values, np.array(inside), np.arange(5), margin=1.0) is None


@pytest.mark.slow
def test_no_difference_is_called_one_as_often_as_the_level_says():
    p = []
    for seed in range(600):
        values, inside = planted(300, shift=0.0, seed=seed)
        group = np.random.default_rng(seed).integers(0, 200, 300)
        p.append(against_the_rest(values, inside, group, margin=1.0).p_zero)
    assert stats.kstest(p, "uniform").pvalue > 0.01


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


def test_q_adds_up_the_squared_distances_from_the_weighted_mean():
    estimates, errors = np.array([0.3, 0.1, 0.9, -0.2]), np.array([0.2, 0.3, 0.25, 0.4])
    centre = np.average(estimates, weights=errors**-2)
    found = cochran_q(estimates, errors)
    assert (found.q, found.df) == (pytest.approx((((estimates - centre) / errors) ** 2).sum()), 3)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.q, 3))
