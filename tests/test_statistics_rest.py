import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics.means import against_the_rest


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
