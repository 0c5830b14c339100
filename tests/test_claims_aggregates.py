import numpy as np
import pandas as pd
import pytest

from hi_ml.claims.aggregates import (
    TIMES,
    add_up,
    counts,
    crosstab,
    cube,
    fill_cells,
    mean_table,
    moments_of,
    over,
    sums,
)

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "insurer": RNG.choice(["a", "b", "c"], 300),
        "kind": RNG.choice(["x", "y"], 300),
        "days": RNG.integers(1, 30, 300).astype(float),
    }
)
HOLES = FRAME.assign(
    insurer=FRAME["insurer"].where(RNG.random(300) > 0.1), days=FRAME["days"].where(RNG.random(300) > 0.1)
)


@pytest.mark.parametrize("frame", [FRAME, HOLES, FRAME.astype({"insurer": "category"})])
def test_ten_parts_add_up_to_one_table(frame):
    parts = [frame.iloc[part * 30 : part * 30 + 30] for part in range(10)]
    whole = sums(frame, ["insurer", "kind"], "days")
    summed = add_up(sums(part, ["insurer", "kind"], "days") for part in parts)
    for measure in ("n", "mean", "variance"):
        np.testing.assert_allclose(getattr(moments_of(summed), measure), getattr(moments_of(whole), measure), rtol=1e-9)
    counted = add_up(counts(part, ["insurer", "kind"]) for part in parts)
    assert counted["n"].sort_index().tolist() == counts(frame, ["insurer", "kind"])["n"].sort_index().tolist()


def test_a_part_that_lacks_a_level_adds_up_too():
    without = FRAME[FRAME["insurer"] != "a"]
    rest = FRAME[FRAME["insurer"] == "a"]
    summed = add_up([counts(without, ["insurer"]), counts(rest, ["insurer"])])
    pd.testing.assert_frame_equal(summed, counts(FRAME, ["insurer"]))


def test_rows_that_lack_a_key_or_the_value_are_left_out():
    known = HOLES.dropna(subset=["insurer", "days"])
    assert sums(HOLES, ["insurer"], "days")["n"].sum() == len(known)
    assert counts(HOLES, ["insurer"])["n"].sum() == HOLES["insurer"].notna().sum()


def test_sums_give_means_and_variances():
    groups = moments_of(sums(FRAME, ["insurer"], "days"))
    by_pandas = FRAME.groupby("insurer")["days"]
    np.testing.assert_allclose(groups.mean, by_pandas.mean())
    np.testing.assert_allclose(groups.variance, by_pandas.var())
    table = mean_table(sums(FRAME, ["insurer"], "days"))
    assert table.columns.tolist() == ["insurer", "n", "mean", "low", "high"]


def test_a_large_mean_leaves_a_small_spread_its_digits_and_a_row_may_stand_for_several():
    values = 1e9 + RNG.standard_normal(100_000)
    frame = pd.DataFrame({"ward": "a", "value": np.append(values, values)})
    expected = np.var(np.append(values, values) - 1e9, ddof=1)
    parts = add_up(sums(frame.iloc[part::10], ["ward"], "value") for part in range(10))
    twice = frame.head(len(values)).assign(**{TIMES: 2})
    for table in (sums(frame, ["ward"], "value"), sums(twice, ["ward"], "value"), parts):
        np.testing.assert_allclose(moments_of(table).variance, [expected], rtol=1e-6)
    assert counts(twice, ["ward"])["n"].tolist() == [len(frame)]


def test_cubes_and_crosstabs_keep_empty_cells():
    frame = FRAME[(FRAME["insurer"] != "b") | (FRAME["kind"] == "x")]
    expected = pd.crosstab(frame["insurer"], frame["kind"])
    table = counts(frame, ["insurer", "kind"])
    np.testing.assert_array_equal(crosstab(table, ("insurer", "kind")), expected)
    with_strata = counts(frame.assign(stratum=frame["days"] > 10), ["stratum", "insurer", "kind"])
    assert cube(with_strata, ("insurer", "kind")).shape == (2, 3, 2)
    np.testing.assert_array_equal(cube(with_strata, ("insurer", "kind")).sum(axis=0), expected)
    assert over(with_strata, ["kind"])["n"].tolist() == expected.sum().tolist()


def test_completing_sorts_and_fills():
    table = counts(pd.DataFrame({"a": [2, 1], "b": ["y", "x"]}), ["a", "b"])
    full = fill_cells(table, ["a"])
    assert full.index.tolist() == [("x", 1), ("x", 2), ("y", 1), ("y", 2)]
    assert full["n"].tolist() == [1, 0, 0, 1]


def test_no_rows_make_an_empty_cube():
    table = counts(FRAME.head(0), ["insurer", "kind"])
    assert cube(table, ("insurer", "kind")).size == 0
