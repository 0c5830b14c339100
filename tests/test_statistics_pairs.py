from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.statistics.linkage import close_partners, combined, overlapping_partners, pair_count

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(-40, 40), st.integers(0, 15)), max_size=30)


@given(ROWS)
def test_close_pairs_are_those_one_would_list(rows):
    groups, values = [row[0] for row in rows], [row[1] / 4 for row in rows]
    listed = sum(
        groups[i] == groups[j] and abs(values[i] - values[j]) < 2.5 for i, j in combinations(range(len(rows)), 2)
    )
    assert close_partners(groups, values, 2.5).sum() == listed


@given(ROWS)
def test_overlapping_pairs_are_those_one_would_list(rows):
    groups, starts = [row[0] for row in rows], [row[1] for row in rows]
    ends = [row[1] + row[2] for row in rows]
    listed = sum(
        groups[i] == groups[j] and starts[i] <= ends[j] and starts[j] <= ends[i]
        for i, j in combinations(range(len(rows)), 2)
    )
    assert overlapping_partners(groups, starts, ends).sum() == listed


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_combined_codes_agree_exactly_where_all_codes_do(rows):
    first, second = np.array(rows).T
    both = combined(first, second)
    assert sorted(set(both)) == list(range(len(set(rows))))
    for i, j in combinations(range(len(rows)), 2):
        assert (both[i] == both[j]) == (rows[i] == rows[j])


def test_pairs_of_one_huge_group_are_counted_without_listing_them():
    assert pair_count(np.zeros(200_000, dtype=int)) == 200_000 * 199_999 // 2


@pytest.mark.parametrize("empty", [[], np.zeros(0)])
def test_no_rows_have_no_pairs(empty):
    assert pair_count(np.zeros(0, dtype=int)) == 0
    assert close_partners(np.zeros(0, dtype=int), empty, 1.0).sum() == 0
