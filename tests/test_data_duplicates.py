from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hi_ml.data.duplicates import connected, near_duplicates
from hi_ml.data.read import read
from hi_ml.data.simulation import simulate

REAL = Path(__file__).parents[1] / "data" / "raw" / "healthcare_dataset.csv"


def parts(group):
    """A grouping as a set of sets, whatever the numbers of its groups."""
    return {frozenset(np.flatnonzero(group == one).tolist()) for one in np.unique(group)}


def by_brute_force(columns, skipped):
    """Compare every row with every other; a column in ``skipped`` must agree ("" stands for exact copies)."""
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    group = list(range(len(rows)))
    for i, j in combinations(range(len(rows)), 2):
        differ = [name for name, one, other in zip(columns, rows[i], rows[j], strict=True) if one != other]
        found = any(name not in skipped for name in ["", *columns]) if not differ else differ[0] not in skipped
        if len(differ) <= 1 and found:
            group = [group[i] if label == group[j] else label for label in group]
    return np.array(group)


@st.composite
def tables(draw):
    """A few columns of few values, with copies of rows that differ in one cell, in none, or in two."""
    width, n = draw(st.integers(2, 6)), draw(st.integers(1, 25))
    cells = st.lists(st.integers(-1, draw(st.integers(1, 60))), min_size=n, max_size=n)
    columns = [draw(cells) for _ in range(width)]
    for _ in range(draw(st.integers(0, 12))):
        source = draw(st.integers(0, len(columns[0]) - 1))
        changed = draw(st.sets(st.integers(0, width - 1), max_size=2))
        for j, column in enumerate(columns):
            column.append(column[source] + 100 * (j in changed))
    return {f"column {j}": np.array(column) for j, column in enumerate(columns)}


@settings(max_examples=300, deadline=None)
@given(tables())
def test_groups_are_those_of_comparing_every_row_with_every_other(columns):
    found = near_duplicates(columns)
    assert parts(found.group) == parts(by_brute_force(columns, found.skipped))


@settings(deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_rows_columns_or_codes(columns, random):
    n = len(next(iter(columns.values())))
    order = random.sample(range(n), n)
    names = random.sample(list(columns), len(columns))
    shuffled = near_duplicates({name: 7 * columns[name][order] + 3 for name in names})
    found = near_duplicates(columns)
    assert parts(shuffled.group) == parts(found.group[order])
    assert set(shuffled.skipped) == set(found.skipped)


def distinct(n, width=3):
    rng = np.random.default_rng(0)
    return {f"column {j}": rng.permutation(n) for j in range(width)}


def test_rows_without_a_twin_are_groups_of_their_own():
    assert near_duplicates(distinct(50)).group.tolist() == list(range(50))


def test_a_copy_is_found_whichever_column_differs():
    for name in distinct(50):
        columns = {other: np.append(column, column[7]) for other, column in distinct(50).items()}
        columns[name][-1] = 1_000
        found = near_duplicates(columns)
        assert found.group[-1] == found.group[7]
        assert found.differ == {name: 1}


def test_an_exact_copy_is_counted_once_and_as_such():
    found = near_duplicates({name: np.append(column, column[7]) for name, column in distinct(50).items()})
    assert found.differ == {"": 1}


def test_a_row_that_differs_in_two_columns_is_no_twin():
    columns = {name: np.append(column, column[7]) for name, column in distinct(50).items()}
    columns["column 0"][-1] = columns["column 1"][-1] = 1_000
    assert near_duplicates(columns).differ == {}


def test_rows_of_one_hash_are_still_compared_cell_by_cell(monkeypatch):
    monkeypatch.setattr(pd.util, "hash_array", lambda values, **_: values % np.uint64(3))
    columns = {name: np.append(column, column[7]) for name, column in distinct(50, width=4).items()}
    group = near_duplicates(columns).group
    for i, j in combinations(range(51), 2):
        if group[i] == group[j]:
            assert sum(column[i] != column[j] for column in columns.values()) <= 1


def test_a_missing_cell_is_a_value_like_another():
    columns = {name: np.append(column, column[7]) for name, column in distinct(50).items()}
    columns["column 2"][-1] = -1
    assert near_duplicates(columns).differ == {"column 2": 1}


def test_twins_of_twins_are_one_group():
    columns = {name: np.append(column, [column[7]] * 2) for name, column in distinct(50).items()}
    columns["column 0"][-2], columns["column 1"][-1] = 1_000, 1_000
    group = near_duplicates(columns).group
    assert group[7] == group[-1] == group[-2]


def test_a_column_is_passed_over_where_chance_alone_brings_such_pairs():
    rng = np.random.default_rng(1)
    columns = {"name": rng.permutation(500), "room": rng.permutation(500), "sex": rng.integers(0, 2, 500)}
    found = near_duplicates(columns)
    assert found.skipped == ("name", "room")  # 124,750 pairs agree in a room by 1 in 500, in a sex by 1 in 2
    assert found.group.tolist() == list(range(500))


@pytest.mark.parametrize("ages", [[30], [30, 30, 31]])
def test_a_single_column_shows_no_copies(ages):
    assert near_duplicates({"age": np.array(ages)}).group.tolist() == list(range(len(ages)))


@given(st.integers(1, 30), st.data())
def test_links_join_what_they_connect(n, data):
    ends = st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20)
    links = data.draw(ends)
    expected = list(range(n))
    for i, j in links:
        expected = [expected[i] if label == expected[j] else label for label in expected]
    group = connected(n, [np.array([i for i, _ in links], dtype=int)], [np.array([j for _, j in links], dtype=int)])
    assert parts(group) == parts(np.array(expected))
    assert group.tolist() == pd.factorize(group)[0].tolist()  # numbered by first appearance


def pairs(group):
    """Every pair of rows that share a group."""
    order = np.argsort(group, kind="stable")
    found = set()
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        found |= set(combinations(sorted(rows.tolist()), 2))
    return found


@pytest.mark.parametrize("scenario", ["planted", "noise"])
def test_the_copies_of_a_simulated_table_are_found_and_no_others(described, scenario):
    rows = 20_000
    dataset = replace(described("unused", scenario=scenario, rows=rows), source=None)
    found = pairs(read(dataset, keep_rejected=None).twins.group)
    true = pairs(simulate(scenario, rows).original)
    assert len(true) > 1_900
    assert len(found & true) / len(true) >= 0.999
    assert len(found & true) / len(found) >= 0.999


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason="data/raw/healthcare_dataset.csv is absent, see data/README.md")
def test_the_copies_of_the_real_table_are_those_that_an_independent_search_found(described):
    twins = read(described(REAL), keep_rejected=None).twins
    assert twins.differ == {"": 534, "age": 4_966}
    sizes = np.bincount(twins.group)
    assert (sizes * (sizes - 1) // 2).sum() == 5_500
    assert np.flatnonzero(sizes > 2).size == 0
