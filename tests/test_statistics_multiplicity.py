import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.multiplicity import all_of, any_of, discoveries, holm, holm_in_family

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


def holm_by_hand(p_values):
    order, running, adjusted = np.argsort(p_values), 0.0, np.empty(len(p_values))
    for rank, place in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, running)
    return adjusted


@given(P_VALUES)
def test_holm_steps_down(p_values):
    np.testing.assert_allclose(holm(p_values), holm_by_hand(p_values), atol=1e-12)


@given(P_VALUES, st.integers(0, 3))
def test_the_family_is_as_large_as_it_is_however_many_are_asked_for(p_values, others):
    expected = holm_by_hand([*p_values, *[1.0] * others])[: len(p_values)]
    np.testing.assert_allclose(holm_in_family(p_values, size=len(p_values) + others), expected, atol=1e-12)


@given(P_VALUES)
def test_combinations_of_parts(p_values):
    assert all_of(p_values) == max(p_values)
    assert any_of(p_values) == pytest.approx(holm_by_hand(p_values).min())


def test_discoveries_are_benjamini_hochberg_over_any_shape():
    p_values = np.array([[0.001, 0.008, 0.039], [0.041, 0.042, 0.9]])
    assert discoveries(p_values).tolist() == [[True, True, False], [False, False, False]]
    np.testing.assert_array_equal(
        discoveries(p_values), (stats.false_discovery_control(p_values.ravel()) <= 0.05).reshape(2, 3)
    )
    assert discoveries([]).tolist() == []
