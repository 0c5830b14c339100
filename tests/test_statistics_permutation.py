from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from hi_ml.statistics.permutation import enough_permutations, permutation_p


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
