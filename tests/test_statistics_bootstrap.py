import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics

from hi_ml.statistics import bootstrap
from hi_ml.statistics.bootstrap import explained_difference, mean_difference, resampled_difference, root_difference
from hi_ml.statistics.estimates import Interval
from hi_ml.statistics.groups import Units, mean_interval, ratio_interval

CLASSES = 3
ROWS = 90


def classified(seed, *, classes=CLASSES, rows=ROWS, steps=None):
    """Truth and shares of the classes that know something of it; in few steps, many rows tie."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=rows)
    share = rng.gamma(1.0, size=(rows, classes)) + np.eye(classes)[truth]
    if steps:
        share = np.ceil(steps * share)
    return truth, share / share.sum(axis=1, keepdims=True)


def unit(rows=ROWS):
    return np.ones((1, rows))


def some_weights(seed, rows=ROWS):
    """How often each row is taken, in five draws."""
    return np.random.default_rng(seed).integers(0, 4, size=(5, rows)).astype(float)


@pytest.mark.parametrize("weights", [unit(), some_weights(3)], ids=["unit weights", "drawn weights"])
def test_label_scores_are_those_of_scikit_learn(weights):
    truth, share = classified(3)
    label = share.argmax(axis=1)
    each = bootstrap.label_counts(truth, label, Units.of(np.arange(ROWS)), classes=CLASSES)
    counts = np.tensordot(weights, each, axes=1)
    for found, draw in zip(counts, weights, strict=True):
        matrix = metrics.confusion_matrix(truth, label, sample_weight=draw)
        np.testing.assert_allclose(found, [matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)])
    f1 = [metrics.f1_score(truth, label, average="macro", sample_weight=draw) for draw in weights]
    balanced = [metrics.balanced_accuracy_score(truth, label, sample_weight=draw) for draw in weights]
    np.testing.assert_allclose(bootstrap.macro_f1(counts), f1, atol=1e-12)
    np.testing.assert_allclose(bootstrap.balanced_accuracy(counts), balanced, atol=1e-12)


def test_a_class_that_does_not_occur_is_left_out_of_the_averages():
    truth, share = classified(4)
    some = truth != 2
    truth, share = truth[some], share[some]
    label = share.argmax(axis=1)
    counts = bootstrap.label_counts(truth, label, Units.of(np.arange(len(truth))), classes=CLASSES).sum(axis=0)[None]
    recalls = [metrics.recall_score(truth == k, label == k) for k in (0, 1)]
    assert bootstrap.balanced_accuracy(counts) == pytest.approx(np.mean(recalls))
    assert bootstrap.macro_f1(counts) == pytest.approx(metrics.f1_score(truth, label, average="macro"))


@settings(deadline=None)
@given(
    arrays(float, st.integers(1, 25), elements=st.floats(0, 100, width=16)).flatmap(
        lambda values: st.tuples(st.just(values), arrays(int, len(values), elements=st.integers(0, 3)))
    )
)
def test_the_weighted_median_is_the_median_of_repeated_values(case):
    values, times = case
    if not times.any():
        times = times + 1
    expected = np.median(np.repeat(values, times))
    for scale in (1.0, 1 / 3):  # a third: the weights of a group of three do not add up without rounding
        assert bootstrap.weighted_quantile(values, scale * times[None, :].astype(float)) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [90, 91])
def test_the_median_error_is_that_of_scikit_learn(rows):
    rng = np.random.default_rng(5)
    truth, predicted = rng.normal(size=rows), rng.normal(size=rows)
    found = bootstrap.weighted_quantile(np.abs(truth - predicted), unit(rows))
    assert found == pytest.approx(metrics.median_absolute_error(truth, predicted), abs=1e-12)


def drawn(units, *, count, seed=0):
    return np.concatenate(list(bootstrap.draws(units, count=count, seed=seed)))


def test_the_first_draw_is_the_sample_and_every_draw_has_as_many_units():
    times = drawn(3, count=50)
    np.testing.assert_array_equal(times[0], [1, 1, 1])
    np.testing.assert_array_equal(times.sum(axis=1), np.full(51, 3))
    assert times.shape == (51, 3)


def test_draws_depend_on_the_seed_alone_and_not_on_how_many_are_held_at_once(monkeypatch):
    once, again, other = (drawn(30, count=20, seed=seed) for seed in (0, 0, 1))
    monkeypatch.setattr(bootstrap, "_CELLS", 100)
    pieces = list(bootstrap.draws(30, count=20, seed=0))
    assert max(map(len, pieces)) == 3
    for same in (again, np.concatenate(pieces)):
        np.testing.assert_array_equal(once, same)
    assert (once != other).any()


def test_the_labels_of_a_unit_are_counted_together_and_those_of_copies_once():
    units = Units.of(np.array([0, 0, 1, 2]), np.array([5, 5, 5, 6]))
    counts = bootstrap.label_counts(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 1]), units, classes=2)
    np.testing.assert_array_equal(counts[0], [[1, 0.5], [1, 1], [1.5, 0.5]])
    np.testing.assert_array_equal(counts[1], [[0, 0], [1, 0], [0, 1]])


def test_the_percentile_interval_leaves_draws_without_a_value_out():
    values = np.concatenate([[0.5], np.linspace(0, 1, 101), np.full(30, np.nan)])
    assert bootstrap.percentile_interval(values) == Interval(0.5, pytest.approx(0.025), pytest.approx(0.975))


def test_the_percentile_interval_holds_its_estimate():
    above, below = (bootstrap.percentile_interval(np.array([value, 0.0, 1.0, 2.0])) for value in (3.0, -1.0))
    assert (above.low, above.value, above.high) == (pytest.approx(0.05), 3.0, 3.0)
    assert (below.low, below.value, below.high) == (-1.0, -1.0, pytest.approx(1.95))


def test_the_interval_of_a_mean_is_as_wide_as_the_t_interval():
    """The bootstrap over groups and the closed form answer the same question."""
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(150), 2)
    values = rng.normal(size=150)[group] + rng.normal(size=300)
    units = Units.of(np.arange(300), group)
    found = bootstrap.percentile_interval(drawn(150, count=2000) @ units.sums(values) / 300)
    error = values.reshape(150, 2).mean(axis=1).std(ddof=1) / 150**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)


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
    assert found.value == pytest.approx(first.mean() ** 0.5 - second.mean() ** 0.5)
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
    weights = drawn(GROUPS, count=4000) / GROUPS
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


@pytest.mark.parametrize("difference", [mean_difference, root_difference])
def test_two_models_are_compared_per_admission_by_units(difference):
    """A patient's admissions count each: the jackknife leaves out whole patients."""
    rng, votes = np.random.default_rng(4), np.random.default_rng(5).integers(1, 6, GROUPS).astype(float)
    first, second = (votes * values + rng.normal(0, 1, GROUPS) ** 2 for values in pair())
    found, power = difference(first, second, votes=votes), 0.5 if difference is root_difference else 1
    value = (first.sum() / votes.sum()) ** power - (second.sum() / votes.sum()) ** power
    assert found.value == pytest.approx(value)
    apart = lambda a, b, v: (a.sum() / v.sum()) ** power - (b.sum() / v.sum()) ** power  # noqa: E731 -- as the others
    assert reach(found) == pytest.approx(jackknife(apart, first, second, votes), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("difference", ["mean", "root", "explained", "resampled"])
def test_intervals_cover_and_p_is_uniform_where_two_models_are_equally_good(difference):
    rng, draws, reps = np.random.default_rng(3), None, 1000
    covered, p = 0, []
    for _ in range(reps):
        hard = rng.gamma(2.0, 2.0, 150)
        first, second = (hard * rng.gamma(20.0, 1 / 20, 150) for _ in range(2))
        if difference == "resampled":
            draws = drawn(150, count=200, seed=int(rng.integers(2**31))) / 150
            found = resampled_difference(draws @ first, draws @ second)
        else:
            spread = {"spread": hard + 1} if difference == "explained" else {}
            kinds = {"mean": mean_difference, "root": root_difference, "explained": explained_difference}
            found = kinds[difference](first, second, **spread)
        covered += found.low <= 0 <= found.high
        p.append(found.p)
    assert 0.93 <= covered / reps <= 0.97  # three standard errors
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07
