from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom, mannwhitneyu

from hi_ml.statistics.drift import (
    chance_distance,
    chance_gap,
    edges,
    expected_new,
    held_again,
    ordered_distance,
    tally,
    total_variation,
)

NUMBERS = st.lists(st.floats(-1e15, 1e15) | st.integers(0, 3).map(float), min_size=1, max_size=60)


def test_few_values_get_a_cell_each():
    values = [3.0, 1.0, 1.0, 7.5]
    assert edges(values, rounded=True).tolist() == [1.0, 3.0]
    assert tally(values, edges(values, rounded=True)).tolist() == [0, 2, 1, 1, 0]


def test_many_values_are_cut_into_cells_of_like_counts():
    values = np.random.default_rng(0).lognormal(10, 1, 5_000)
    counts = tally(values, edges(values, rounded=True))[1:-1]
    assert len(counts) == 20
    assert counts.sum() == 5_000
    assert np.abs(counts - 250).max() < 25


def test_edges_are_no_ones_value():
    values = np.random.default_rng(1).uniform(1_000, 50_000, 5_000).round(2)
    assert not set(edges(values, rounded=True)) & set(values)
    assert set(edges(values, rounded=False)) <= set(values)


@pytest.mark.parametrize("most", [0.0, 99.0])
def test_a_value_that_most_rows_hold_has_a_cell_of_its_own(most):
    values = np.append(np.full(970, most), np.arange(30) + 1.0)
    cuts = edges(values, rounded=True)
    assert len(cuts) >= 1
    assert tally(values, cuts)[1:-1].max() == 970


@given(NUMBERS, st.booleans())
def test_every_row_is_counted_once_whatever_the_values(values, rounded):
    cuts = edges(values, rounded=rounded)
    assert len(cuts) < 20
    assert np.all(np.diff(cuts) > 0)
    counts = tally([*values, np.nan, np.nan], cuts)
    assert (counts[0], counts[-1], counts.sum()) == (0, 2, len(values) + 2)
    if len(set(values)) > 1 and not rounded:
        assert (counts[1:-1] > 0).all()


@given(NUMBERS, st.integers(0, 60))
def test_counts_of_parts_add_up(values, cut):
    cuts = edges(values, rounded=True)
    np.testing.assert_array_equal(tally(values[:cut], cuts) + tally(values[cut:], cuts), tally(values, cuts))


def test_a_cell_holds_its_upper_end_and_rows_may_share_a_value():
    assert tally([1.0, 1.1, 2.0, 2.1], [1.0, 2.0]).tolist() == [0, 1, 2, 1, 0]
    assert tally([0.0, 1.0, -1.0, np.nan], [0.0], rows=[5, 6, 7, 8], lowest=-1).tolist() == [7, 5, 6, 8]


COUNTS = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any)


@given(COUNTS, COUNTS)
def test_total_variation_is_the_largest_gap_between_the_shares_of_any_set_of_cells(training, new):
    a, b = np.array(training) / sum(training), np.array(new) / sum(new)
    sets = [list(some) for size in (1, 2) for some in combinations(range(3), size)]
    assert total_variation(training, new) == pytest.approx(max(abs((a - b)[some].sum()) for some in sets))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 3))
def test_where_all_moves_one_way_the_ordered_distance_is_cliffs_delta(values, shift):
    later = [value + shift for value in values]
    counts = [np.bincount(found, minlength=9) for found in (values, later)]
    superior = mannwhitneyu(later, values).statistic / len(values) ** 2
    assert ordered_distance(*counts) == pytest.approx(2 * superior - 1)


def test_the_distances_go_from_none_to_all():
    for distance in (total_variation, ordered_distance):
        assert distance([5, 5, 5], [2, 2, 2]) == 0
        assert distance([5, 5, 0], [0, 0, 3]) == 1
        assert distance([30, 10], [10, 30]) == 0.5
    assert ordered_distance([10, 10, 10, 10], [20, 0, 0, 20]) > 0.2  # a spread that grew, around the same median
    # Order tells a small move of all from a large one.
    assert ordered_distance([9, 9, 9, 0], [0, 9, 9, 9]) < ordered_distance([9, 9, 9, 0], [0, 0, 9, 18])
    assert distance(np.array([[1, 1], [1, 3]]), np.array([[1, 1], [3, 1]])).tolist() == [0, 0.5]


@pytest.mark.parametrize("distance", [total_variation, ordered_distance])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_shuffled_rows_rarely_exceed_the_distance_of_chance(distance, level):
    """Against all ways to choose the new rows."""
    training, new = np.array([4, 3, 1]), np.array([1, 1, 2])
    limit = chance_distance(training, new, distance, level=level)
    rows = np.repeat(range(3), training + new)
    ways = [np.bincount(rows[list(some)], minlength=3) for some in combinations(range(12), 4)]
    found = np.array([distance(training + new - way, way) for way in ways]).round(9)
    assert (found > round(limit, 9)).mean() <= level
    assert (found >= round(limit, 9)).mean() > level / 2  # and it is not much larger than need be


def test_the_distance_of_chance_falls_with_the_rows_and_takes_any_number_of_them():
    training = np.full(20, 1_500)
    limits = [chance_distance(training, np.full(20, n), total_variation, level=0.005) for n in (1, 10, 1_000, 10**9)]
    assert limits == sorted(limits, reverse=True)
    assert 0 < limits[-1] < 0.02
    assert chance_distance(training, [1] + [0] * 19, ordered_distance, level=0.005) == pytest.approx(0.95, abs=0.03)


def test_it_is_the_same_every_time():
    asked = ([30, 10, 5], [5, 10, 3], ordered_distance)
    assert chance_distance(*asked, level=0.01) == chance_distance(*asked, level=0.01)


@given(st.tuples(st.integers(0, 40), st.integers(1, 40)), st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(any))
@settings(max_examples=60)
def test_two_shares_differ_by_more_than_chance_at_most_as_often_as_allowed(training, new):
    level, pooled, size, total = 0.1, training[0] + new[0], sum(new), sum(training) + sum(new)
    limit = chance_gap(training, new, level=level)
    counts = np.arange(max(0, size + pooled - total), min(size, pooled) + 1)
    gaps = np.abs(counts / size - (pooled - counts) / (total - size))
    assert hypergeom.pmf(counts[gaps > limit + 1e-9], total, pooled, size).sum() <= level
    if abs(new[0] / size - training[0] / sum(training)) > limit + 1e-9:
        assert fisher_exact([training, new]).pvalue <= level


def test_the_expected_share_of_new_levels_is_that_of_good():
    assert expected_new(33_000, 0, 0) == (0, 33_000)
    having, lacking = expected_new(1_000, 200, 0)
    assert having / (having + lacking) == 0.2
    having, lacking = expected_new(1_000, 200, 300)  # pairs make it unsure, so there seem to be fewer rows
    assert having / (having + lacking) == pytest.approx(0.2, abs=0.01)
    assert having + lacking == pytest.approx(250, abs=2)
    assert expected_new(3, 3, 0)[1] > 0


@pytest.mark.parametrize(("levels", "rows", "size"), [(40, 60, 40), (300, 500, 5_000), (2_000, 500, 40)])
def test_new_levels_of_the_same_distribution_rarely_exceed_chance(levels, rows, size):
    rng = np.random.default_rng(3)
    chances = rng.dirichlet(np.ones(levels))
    alarms = 0
    for _ in range(400):
        training, new = rng.multinomial(rows, chances), rng.multinomial(size, chances)
        once, k = int((training == 1).sum()), int(new[training == 0].sum())
        expected = expected_new(rows, once, int((training == 2).sum()))
        alarms += k / size - once / rows > chance_gap(expected, (k, size - k), level=0.05) + 1e-9
    assert alarms <= 30  # of 20 at most, 30 are exceeded once in 80


@pytest.mark.parametrize("rare", [0.2, 1.0, 5.0])
def test_the_counts_of_levels_held_again_vary_as_single_rows_do(rare):
    """Rows of many levels in a few cells, less those that stand alone: what is left for chance to move."""
    rng = np.random.default_rng(4)
    draws = rng.poisson(rare, (400, 20, 100))
    kept = np.where(draws > 1, draws, 0).sum(axis=2)
    expected = np.where(draws > 0, rare, 0).sum(axis=2)  # of rows to come whose level is known
    made = [held_again(one, int(pairs)).sum() for one, pairs in zip(kept, (draws == 2).sum(axis=(1, 2)), strict=True)]
    spread = ((kept - expected) ** 2).mean() * 20 / kept.sum(axis=1).mean()
    assert kept.sum(axis=1).mean() / np.mean(made) == pytest.approx(spread, rel=0.1)


def test_nothing_held_again_stays_nothing():
    assert held_again([0, 0], 0).tolist() == [0, 0]
    assert held_again([20, 30], 0).tolist() == [20, 30]
