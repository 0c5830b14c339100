import numpy as np
import pytest

from hi_ml.statistics.drift import chance_gap, expected_new, held_again


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
