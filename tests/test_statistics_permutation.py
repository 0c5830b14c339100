from itertools import count, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.permutation import (
    besag_clifford,
    enough_permutations,
    exchange_groups,
    movable_share,
    permutation_p,
)


def test_it_agrees_with_every_permutation_of_a_small_table():
    values, groups = np.array([1.0, 4.0, 2.0, 8.0, 9.0, 3.0]), np.array([0, 0, 1, 1, 1, 2])

    def f(arranged):
        return sum(arranged[groups == g].sum() ** 2 / (groups == g).sum() for g in range(3))

    exact = np.mean([f(np.array(order)) >= f(values) - 1e-9 for order in permutations(values)])
    p_value = permutation_p(values, groups, permutations=4999, rng=np.random.default_rng(0))
    assert p_value == pytest.approx(exact, abs=0.025)


def test_it_agrees_with_the_f_table_on_normal_values():
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=300), np.repeat(np.arange(20), 15)
    p_value = permutation_p(values, groups, permutations=1999, rng=rng)
    assert p_value == pytest.approx(stats.f_oneway(*values.reshape(20, 15)).pvalue, abs=0.04)


def test_order_and_codes_of_the_groups_do_not_matter_to_the_statistic():
    rng = np.random.default_rng(2)
    values, groups = rng.normal(size=50), rng.integers(0, 5, 50)
    values[groups == 2] += 3
    apart = permutation_p(values, groups * 7 + 3, permutations=199, rng=np.random.default_rng(0))
    assert apart == 1 / 200


def test_values_that_never_differ_are_always_as_far_apart():
    assert permutation_p(np.full(20, 0.1), np.arange(20) % 4, permutations=99, rng=np.random.default_rng(0)) == 1.0


def test_the_same_seed_gives_the_same_p_value():
    values, groups = np.random.default_rng(3).normal(size=100), np.arange(100) // 5
    first, second = (permutation_p(values, groups, permutations=99, rng=np.random.default_rng(4)) for _ in range(2))
    assert first == second


def test_ten_tests_need_two_hundred_permutations():
    assert not enough_permutations(199, 10)
    assert enough_permutations(200, 10)


def test_without_exceedances_all_are_drawn():
    found = besag_clifford(1.0, [0.0] * 99, stop_after=10)
    assert (found.p, found.exceedances, len(found.permuted), found.stopped) == (0.01, 0, 99, False)


def test_drawing_ends_with_the_last_exceedance_that_is_needed():
    drawn = []

    def statistics():
        for k in count():
            drawn.append(k)
            yield float(k % 4)  # every fourth is as large

    found = besag_clifford(3.0, statistics(), stop_after=5)
    assert len(drawn) == len(found.permuted) == 20
    assert (found.p, found.exceedances, found.stopped) == (0.25, 5, True)


def test_rounding_makes_no_difference_between_equal_statistics():
    assert besag_clifford(0.1 + 0.2, [0.3] * 9, stop_after=10).p == 1.0
    assert besag_clifford(1e-17, [0.0] * 9, stop_after=10).p == 1.0


@pytest.mark.parametrize("stop_after", [1, 3, 10, 100])
def test_a_true_null_hypothesis_has_a_p_value_below_a_with_probability_a(stop_after):
    rng = np.random.default_rng(0)
    found = np.array([besag_clifford(rows[0], rows[1:], stop_after=stop_after).p for rows in rng.random((4000, 40))])
    for level in np.unique(found)[:-1]:
        assert (found <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


@given(st.lists(st.integers(-3, 8), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_whole_groups_change_places_with_groups_of_their_size(numbers, seed):
    group = np.array(numbers)
    source = exchange_groups(group, np.random.default_rng(seed))
    assert sorted(source) == list(range(len(group)))
    for name in np.unique(group):
        rows = np.flatnonzero(group == name)
        (from_,) = np.unique(group[source[rows]])
        np.testing.assert_array_equal(source[rows], np.flatnonzero(group == from_))


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_the_movable_rows_are_those_of_groups_that_are_not_alone_in_their_size(numbers):
    sizes = [numbers.count(name) for name in numbers]
    movable = [len({name for name in numbers if numbers.count(name) == size}) > 1 for size in sizes]
    assert movable_share(np.array(numbers)) == pytest.approx(np.mean(movable))


def test_every_exchange_is_equally_likely():
    rng = np.random.default_rng(0)
    found = [tuple(exchange_groups(np.array([5, 5, 6, 7, 7, 8, 8]), rng)) for _ in range(3000)]
    seen, counts = np.unique(found, axis=0, return_counts=True)
    assert len(seen) == 6  # three pairs in any order; the single row alone
    assert stats.chisquare(counts).pvalue > 0.001
