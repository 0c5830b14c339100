import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics import bootstrap
from hi_ml.statistics.bootstrap import explained_difference, mean_difference, resampled_difference, root_difference
from hi_ml.statistics.groups import mean_interval, ratio_interval, root_interval

GROUPS = 400


def pair(seed=0, *, shift=0.1, groups=GROUPS):
    """Losses of two models on the same groups: alike where a group is hard, apart by `shift` on average."""
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2.0, 2.0, groups)
    return hard + shift + rng.normal(0, 0.5, groups), hard + rng.normal(0, 0.5, groups)


def jackknife(statistic, *arrays):
    """The standard error of a difference, by leaving out one group at a time."""
    n = len(arrays[0])
    left = np.array([statistic(*(np.delete(values, i) for values in arrays)) for i in range(n)])
    return np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())


def reach(found, groups=GROUPS):
    return (found.high - found.low) / 2 / stats.t.ppf(0.975, groups - 1)


def test_a_difference_of_means_is_the_paired_t_test():
    first, second = pair()
    found, expected = mean_difference(first, second), stats.ttest_rel(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_level_is_that_of_the_interval(level):
    first, second = pair()
    found, expected = mean_difference(first, second, level=level), mean_interval(first - second, level=level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.p == mean_difference(first, second).p


def test_a_difference_of_roots_has_the_error_of_the_jackknife():
    first, second = pair()
    found = root_difference(first, second)
    assert found.value == pytest.approx(root_interval(first).value - root_interval(second).value)
    error = jackknife(lambda a, b: a.mean() ** 0.5 - b.mean() ** 0.5, first, second)
    assert reach(found) == pytest.approx(error, rel=0.02)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / reach(found), GROUPS - 1))


def test_a_difference_of_explained_shares_has_the_error_of_the_jackknife():
    first, second = pair(shift=8.0)
    spread = np.random.default_rng(1).gamma(2.0, 5.0, GROUPS) + second
    found = explained_difference(first, second, spread=spread)
    each = [1 - ratio_interval(squares, spread).value for squares in (first, second)]
    assert found.value == pytest.approx(each[0] - each[1])
    error = jackknife(lambda a, b, s: (b.mean() - a.mean()) / s.mean(), first, second, spread)
    assert reach(found) == pytest.approx(error, rel=0.02)


def test_a_resampled_difference_of_means_is_near_the_t_test():
    first, second = pair(shift=0.05)
    weights = bootstrap.draws(np.arange(GROUPS), count=4000, seed=0) / GROUPS
    found, expected = resampled_difference(weights @ first, weights @ second), mean_difference(first, second)
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)
    assert found.p == pytest.approx(expected.p, abs=0.05)


def test_no_draw_beyond_zero_is_no_certainty():
    found = resampled_difference(np.full(200, 2.0), np.full(200, 1.0))
    assert found.p == pytest.approx(2 / 200)
    assert found.value == found.low == found.high == 1


def test_draws_in_which_a_score_is_not_defined_do_not_count():
    first, second = np.array([1.0, 1.0, 2.0, np.nan, 0.0]), np.zeros(5)
    assert resampled_difference(first, second).p == pytest.approx(min(1, 2 * 2 / 4))


@pytest.mark.parametrize(
    "difference",
    [
        mean_difference,
        root_difference,
        resampled_difference,
        lambda a, b: explained_difference(a, b, spread=np.arange(len(a)) + 1.0),
    ],
)
def test_identical_models_differ_by_exactly_nothing(difference):
    first, _ = pair()
    found = difference(first, first.copy())
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_order_turns_the_sign_and_nothing_else():
    first, second = pair()
    for difference in (mean_difference, root_difference, resampled_difference):
        one, other = difference(first, second), difference(second, first)
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
        assert one.p == pytest.approx(other.p)


def test_a_model_without_error_can_be_compared():
    first, _ = pair()
    found = root_difference(first, np.zeros(GROUPS))
    assert found.value == pytest.approx(first.mean() ** 0.5)
    assert root_difference(np.zeros(3), np.zeros(3)).p == 1


@pytest.mark.slow
@pytest.mark.parametrize("difference", ["mean", "root", "explained", "resampled"])
def test_intervals_cover_and_p_is_uniform_where_two_models_are_equally_good(difference):
    rng, draws, reps = np.random.default_rng(3), None, 1000
    covered, p = 0, []
    for _ in range(reps):
        hard = rng.gamma(2.0, 2.0, 150)
        first, second = (hard * rng.gamma(20.0, 1 / 20, 150) for _ in range(2))
        if difference == "resampled":
            draws = bootstrap.draws(np.arange(150), count=200, seed=int(rng.integers(2**31))) / 150
            found = resampled_difference(draws @ first, draws @ second)
        else:
            spread = {"spread": hard + 1} if difference == "explained" else {}
            kinds = {"mean": mean_difference, "root": root_difference, "explained": explained_difference}
            found = kinds[difference](first, second, **spread)
        covered += found.low <= 0 <= found.high
        p.append(found.p)
    assert 0.93 <= covered / reps <= 0.97  # three standard errors
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07
