import numpy as np

from hi_ml.statistics.moments import Moments, moments

RNG = np.random.default_rng(3)
SAMPLES = [RNG.normal(10, 1, 40), RNG.gamma(2, 5, 90), RNG.uniform(0, 30, 55)]
GROUPS = moments(np.concatenate(SAMPLES), np.repeat([0, 1, 2], [40, 90, 55]), 3)


def test_moments_give_means_and_variances():
    np.testing.assert_allclose(GROUPS.mean, [sample.mean() for sample in SAMPLES], rtol=1e-12)
    np.testing.assert_allclose(GROUPS.variance, [sample.var(ddof=1) for sample in SAMPLES], rtol=1e-10)


def test_parts_add_up_to_the_whole():
    parts = [moments(sample, np.full(sample.size, code), 3) for code, sample in enumerate(SAMPLES)]
    for name in ("n", "total", "squares"):
        np.testing.assert_allclose(sum(getattr(part, name) for part in parts), getattr(GROUPS, name), rtol=1e-12)


def test_a_constant_has_no_spread_left_by_rounding():
    constant = moments(np.full(7, 0.1 + 0.2), np.array([0, 0, 0, 1, 1, 1, 1]), 2)
    assert constant.within.tolist() == [0.0, 0.0]


def test_groups_are_picked_pooled_taken_out_and_kept_by_size():
    together = np.concatenate(SAMPLES)
    np.testing.assert_allclose(GROUPS.together.mean, together.mean())
    np.testing.assert_allclose(GROUPS.together.variance, together.var(ddof=1), rtol=1e-10)
    rest = GROUPS.pooled([[0, 1, 2]]).less(GROUPS.at([1]))
    np.testing.assert_allclose(rest.mean, np.concatenate([SAMPLES[0], SAMPLES[2]]).mean())
    assert GROUPS.large_enough(50).n.tolist() == [90.0, 55.0]


def test_an_empty_group_has_no_spread():
    assert Moments(np.zeros(1), np.zeros(1), np.zeros(1)).within.tolist() == [0.0]
