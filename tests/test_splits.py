import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hi_ml.app.config import build
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.modeling.splits import LEFT_OUT, PARTS, Split, assign, certify, digest, folds, hold_out, left_out

TRAIN, CALIBRATION, TEST = range(len(PARTS))
FIRST = pd.Timestamp("2024-01-01")


def rule(name="grouped", shares=(0.6, 0.2, 0.2)):
    return Split(name, *shares)


def stays(*admitted_and_nights):
    """A table of stays, in days since the first one."""
    admitted = pd.Series([day for day, _ in admitted_and_nights], dtype=float)
    nights = pd.Series([nights for _, nights in admitted_and_nights], dtype=float)
    start = FIRST + pd.to_timedelta(admitted, unit="D")
    return pd.DataFrame({"admitted_on": start, "discharged_on": start + pd.to_timedelta(nights, unit="D")})


def parts_per_group(parts, group):
    """How many parts each group stands in, rows left out aside."""
    kept = parts != LEFT_OUT
    return pd.Series(parts[kept]).groupby(group[kept]).nunique()


any_groups = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(lambda g: np.array(g, dtype=np.int64))
any_stays = st.lists(
    st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 30)), st.integers(0, 9)), min_size=3, max_size=60
)


@pytest.mark.parametrize("name", ["grouped", "random"])
def test_parts_hold_their_shares_of_the_rows(name):
    group = np.random.default_rng(0).integers(0, 4000, size=10_000)
    parts = assign(rule(name), group, seed=0, table=pd.DataFrame())
    np.testing.assert_allclose(np.bincount(parts) / len(parts), [0.6, 0.2, 0.2], atol=0.005)


def test_a_calibration_share_of_zero_leaves_that_part_empty():
    parts = assign(rule(shares=(0.7, 0.0, 0.3)), np.arange(1000), seed=0, table=pd.DataFrame())
    assert np.bincount(parts, minlength=3).tolist() == [700, 0, 300]


@settings(deadline=None)
@given(any_groups, st.integers(0, 99))
def test_a_grouped_split_keeps_every_row_and_every_group_together(group, seed):
    parts = assign(rule(), group, seed=seed, table=pd.DataFrame())
    assert set(parts.tolist()) <= {TRAIN, CALIBRATION, TEST}
    assert (parts_per_group(parts, group) == 1).all()


@settings(deadline=None)
@given(any_stays)
def test_a_temporal_split_keeps_groups_together_and_knows_only_the_past(rows):
    group = np.array([one for one, _, _ in rows])
    table = stays(*[(day, nights) for _, day, nights in rows])
    if table["admitted_on"].isna().all():
        return
    parts = assign(rule("temporal"), group, seed=0, table=table)
    assert (parts_per_group(parts, group) == 1).all()
    assert (parts[table["admitted_on"].isna()] == LEFT_OUT).all()
    for earlier, later in ((TRAIN, CALIBRATION), (TRAIN, TEST), (CALIBRATION, TEST)):
        known = table[parts == earlier]
        coming = table.loc[parts == later, "admitted_on"]
        if len(known) and len(coming):
            assert known["admitted_on"].max() < coming.min()
            assert known["discharged_on"].max() < coming.min()


def test_a_temporal_split_cuts_at_its_shares():
    table = stays(*[(day, 0) for day in np.random.default_rng(1).permutation(100)])
    parts = assign(rule("temporal"), np.arange(100), seed=0, table=table)
    assert np.bincount(parts).tolist() == [60, 20, 20]
    assert table.loc[parts == TRAIN, "admitted_on"].max() == FIRST + pd.Timedelta(days=59)


def test_a_stay_that_had_not_ended_at_the_cut_teaches_nothing():
    nights = np.zeros(100)
    nights[[10, 59, 70, 99]] = [49, 1, 40, 400]  # ends on the day of the cut; a day later; after the second cut; last
    parts = assign(rule("temporal"), np.arange(100), seed=0, table=stays(*enumerate(nights)))
    assert parts[[10, 59, 70, 99]].tolist() == [TRAIN, LEFT_OUT, LEFT_OUT, TEST]
    assert (parts == LEFT_OUT).sum() == 2


def test_a_length_of_stay_column_tells_when_a_stay_ended():
    table = stays(*enumerate(np.zeros(100))).drop(columns="discharged_on")
    table["length_of_stay"] = np.where(np.arange(100) == 59, 3.0, 0.0)
    parts = assign(rule("temporal"), np.arange(100), seed=0, table=table)
    assert np.flatnonzero(parts == LEFT_OUT).tolist() == [59]


def test_a_straddling_group_keeps_its_earlier_part():
    group = np.arange(100)
    group[[5, 65, 95]] = 5  # train, calibration, test
    group[[70, 96]] = 70  # calibration, test
    parts = assign(rule("temporal"), group, seed=0, table=stays(*[(day, 0) for day in range(100)]))
    assert parts[[5, 65, 95]].tolist() == [TRAIN, LEFT_OUT, LEFT_OUT]
    assert parts[[70, 96]].tolist() == [CALIBRATION, LEFT_OUT]


def test_the_rest_of_a_group_does_not_move_up_when_its_earliest_stay_is_left_out():
    """Its patient is known to the past all the same."""
    group, nights = np.arange(100), np.zeros(100)
    group[[5, 95]], nights[5] = 5, 80
    parts = assign(rule("temporal"), group, seed=0, table=stays(*enumerate(nights)))
    assert parts[[5, 95]].tolist() == [LEFT_OUT, LEFT_OUT]


def test_no_day_is_shared_though_admissions_have_hours_and_what_is_left_out_is_counted_by_why():
    rng = np.random.default_rng(2)
    table = stays(*zip(rng.uniform(0, 40, 400), rng.uniform(0, 3, 400), strict=True))
    table.loc[7, ["admitted_on", "discharged_on"]] = pd.NaT
    group = rng.integers(0, 300, 400)
    parts = assign(rule("temporal"), group, seed=0, table=table)
    days = pd.factorize(table["admitted_on"].dt.date)[0]
    said = certify(parts, {"groups": group, "days": days, "rows": np.arange(400) % 3}, np.arange(400, dtype=np.uint64))
    assert {*said["shared"]["groups"].values(), *said["shared"]["days"].values()} == {0}
    assert said["shared"]["rows"] == {"train_calibration": 3, "train_test": 3, "calibration_test": 3}
    counts = left_out(rule("temporal"), group, table)
    assert sum(counts.values()) == (parts == LEFT_OUT).sum()
    assert (counts["without a date of admission"], len(counts)) == (1, 3)
    assert left_out(rule(), group, table) == {}


def test_a_certificate_counts_what_a_random_split_shares_and_takes_the_unknown_for_nobody():
    group = np.array([0, 0, 1, 1, -1, -1])
    parts, content = np.array([0, 2, 0, 0, 0, 2], dtype=np.int8), np.arange(6, dtype=np.uint64)
    said = certify(parts, {"patients": group}, content)
    assert said["shared"]["patients"] == {"train_calibration": 0, "train_test": 1, "calibration_test": 0}
    moved = certify(parts[::-1], {"patients": group}, content[::-1])
    assert moved["rows_sha256"] == said["rows_sha256"]
    assert len(set(said["rows_sha256"].values())) == 3


@pytest.mark.parametrize(
    "table", [pd.DataFrame({"age": [1.0] * 5}), stays(*[(None, 1)] * 5)], ids=["no column", "empty column"]
)
def test_a_temporal_split_asks_for_admission_dates(table):
    with pytest.raises(ConfigurationInvalid, match="admitted_on"):
        assign(rule("temporal"), np.arange(5), seed=0, table=table)


def test_a_random_split_tears_groups_apart():
    group = np.repeat(np.arange(200), 2)
    parts = assign(rule("random"), group, seed=0, table=pd.DataFrame())
    torn = (parts_per_group(parts, group) > 1).mean()
    assert torn == pytest.approx(1 - (0.6**2 + 0.2**2 + 0.2**2), abs=0.1)


@pytest.mark.parametrize("name", ["grouped", "random"])
def test_a_split_depends_on_the_seed_alone(name):
    group = np.arange(300) // 2
    first, again, other = (assign(rule(name), group, seed=seed, table=pd.DataFrame()) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@settings(deadline=None)
@given(st.lists(st.integers(-1, 2), min_size=1, max_size=40), st.data())
def test_the_digest_changes_with_any_assignment(assigned, data):
    parts, content = np.array(assigned, dtype=np.int8), np.arange(1, len(assigned) + 1, dtype=np.uint64)
    place = data.draw(st.integers(0, len(parts) - 1))
    moved, other, group = parts.copy(), content.copy(), content.astype(np.int64) // 2
    moved[place] = data.draw(st.integers(-1, 2).filter(lambda part: part != parts[place]))
    other[place] += 1000
    assert digest(parts, group, content) == digest(parts.copy(), group + 7, content.copy())
    assert len({digest(parts, group, content), digest(moved, group, content), digest(parts, group, other)}) == 3


@settings(deadline=None)
@given(any_groups, st.integers(2, 10), st.integers(0, 9))
def test_folds_test_every_row_once_and_keep_groups_together(group, count, seed):
    made = folds(group, count=count, seed=seed)
    assert len(made) == min(count, len(np.unique(group)))
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in made])), np.arange(len(group)))
    for train, test in made:
        assert not set(group[train]) & set(group[test])
        assert len(train) + len(test) == len(group)


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.3), (0.0, 0.5, 0.5), (0.8, 0.2, 0.0), (0.9, -0.1, 0.2)])
def test_shares_that_are_none_are_refused(shares):
    node = {"name": "grouped", **dict(zip(PARTS, shares, strict=True))}
    with pytest.raises(ValidationError, match="sum to 1"):
        build(Split, node)


def test_whole_groups_are_held_out():
    group = np.random.default_rng(0).integers(0, 200, 600)
    train, validation = hold_out(group, share=0.2, seed=0)
    assert not set(group[train]) & set(group[validation])
    np.testing.assert_array_equal(np.sort(np.append(train, validation)), np.arange(600))
    assert len(validation) / 600 == pytest.approx(0.2, abs=0.03)


def test_a_group_with_a_label_of_its_own_trains_instead_of_being_held_out():
    group = np.arange(200) // 2
    for rare in range(0, 200, 20):
        train, validation = hold_out(group, share=0.5, seed=0, labels=(np.arange(200) == rare).astype(float))
        assert {rare, rare + 1} <= set(train.tolist())
        np.testing.assert_array_equal(np.sort(np.append(train, validation)), np.arange(200))
