import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.statistics.bins import bins

EDGES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6, unique=True).map(sorted)


def test_a_band_holds_its_lower_edge_and_not_its_upper():
    codes, labels = bins([-5, 17.9, 18, 39, 40, 64, 65, 200], [18, 40, 65], "years")
    assert codes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert labels == ["under 18 years", "18 to 39 years", "40 to 64 years", "65 years and over"]


def test_a_missing_number_is_in_no_band():
    assert bins([np.nan, 1.0], [0], "")[0].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("edges", "unit", "labels"),
    [
        ([1], "", ["under 1", "1 and over"]),
        ([1, 2], "days", ["under 1 days", "1 days", "2 days and over"]),
        ([0.5, 2], "mg", ["under 0.5 mg", "0.5 to under 2 mg", "2 mg and over"]),
        ([], "years", ["all"]),
    ],
)
def test_bands_are_named_by_what_they_hold(edges, unit, labels):
    assert bins([1.0], edges, unit)[1] == labels


@given(st.lists(st.floats(-1e6, 1e6), max_size=20), EDGES)
def test_codes_count_the_edges_at_or_below_a_value(values, edges):
    codes, labels = bins(values, edges, "years")
    assert codes.tolist() == [sum(edge <= value for edge in edges) for value in values]
    assert len(labels) == len(edges) + 1
