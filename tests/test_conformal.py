import numpy as np
import pytest

from hi_ml.evaluation.conformal import AmountForecast, AmountIntervals, ClassForecast, LabelSets, Thresholds
from hi_ml.statistics.groups import Units


def alone(n):
    """So many admissions of as many patients."""
    return Units.of(np.arange(n))


def test_an_interval_holds_its_ends():
    made = AmountIntervals(np.array([1.0, 1, 1, 1]), np.array([3.0, 3, 3, 3]))
    assert made.covers(np.array([1.0, 3, 0.99, 3.01])).tolist() == [1, 1, 0, 0]
    assert made.size.tolist() == [2, 2, 2, 2]
    assert {name: column.tolist() for name, column in made.columns([]).items()} == {"low": [1] * 4, "high": [3] * 4}


def test_a_set_names_its_labels_in_their_order():
    made = LabelSets(np.array([[True, False, True], [False, True, False], [True, False, True]]))
    assert made.covers(np.array([2.0, 0.0, 1.0])).tolist() == [1, 0, 0]
    assert made.size.tolist() == [2, 1, 2]
    assert made.columns(["no", "may be", "yes"])["prediction_set"].tolist() == ["no|yes", "may be", "no|yes"]


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.array([0.0, 1.0])])
def test_amounts_and_probabilities_become_sets_by_one_threshold_or_one_per_row(threshold):
    first, second = np.broadcast_to(threshold, 2)
    made = AmountForecast(np.array([5.0, 5.0]), np.array([4.0, 4.0]), np.array([7.0, 7.0]), whole=False).prediction_set(
        threshold
    )
    assert made.low.tolist() == [4 - first, 4 - second]
    assert made.high.tolist() == [7 + first, 7 + second]
    made = ClassForecast(np.array([[0.7, 0.3], [0.7, 0.3]])).prediction_set(threshold)
    assert made.inside.tolist() == [[True, bool(first)], [True, bool(second)]]


def test_whole_amounts_get_whole_bounds():
    made = AmountForecast(np.array([5.5]), np.array([2.2]), np.array([8.8]), whole=True).prediction_set(0.0)
    assert (made.low, made.high) == (3, 8)


def test_a_level_gets_its_own_threshold_where_it_has_enough_groups_and_training_rows():
    codes = np.array([0] * 20 + [1] * 30 + [2] * 5 + [3] * 20 + [-1] * 10)
    scores = np.arange(85.0)
    found = Thresholds.of(scores, alone(85), codes, np.array([True, True, True, False]), level=0.9)
    assert found.all == 77
    assert found.own.tolist() == [18, 47, np.inf, np.inf]
    assert found.behind == [20, 30, 85, 85]
    assert found.of_rows(np.array([1, 0, 2, 3, -1])).tolist() == [47, 18, 77, 77, 77]
    assert found.describe() == {"all": 77.0, "levels": [18.0, 47.0, None, None]}


def test_without_levels_there_is_one_threshold():
    found = Thresholds.of(np.arange(20.0), alone(20), np.full(20, -1), np.zeros(0, dtype=bool), level=0.9)
    assert found.of_rows(np.full(3, -1)).tolist() == [18, 18, 18]
    assert found.describe() == {"all": 18.0, "levels": None}
