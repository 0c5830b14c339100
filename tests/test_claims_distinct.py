import numpy as np
import pandas as pd

from hi_ml.claims.distinct import among, one_row_each

FRAME = pd.DataFrame({"age": [30.0, 40.0, 31.0, 50.0, 41.0], "condition": pd.Categorical(list("abacb"))})
TWINS = [0, 1, 0, 2, 1]


def test_one_row_per_group_the_first_or_the_last():
    distinct = one_row_each(FRAME, TWINS)
    assert distinct.rows["age"].tolist() == [30.0, 40.0, 50.0]
    assert distinct.last.take(["age"])["age"].tolist() == [31.0, 50.0, 41.0]
    assert distinct.copies == 2
    assert distinct.rows.index.tolist() == [0, 1, 2]


def test_rows_of_a_negative_group_are_alone():
    assert len(one_row_each(FRAME, [-1, -1, -1, 0, 0]).rows) == 4


def test_keeping_duplicates_keeps_every_row():
    every = one_row_each(FRAME, TWINS, keep_duplicates=True)
    assert (len(every.rows), every.copies) == (5, 0)


def test_the_frame_given_is_left_alone_whatever_its_index():
    frame = FRAME.set_index(pd.Index([9, 9, 9, 9, 9]))
    before = frame.copy()
    assert one_row_each(frame, TWINS).rows["age"].tolist() == [30.0, 40.0, 50.0]
    pd.testing.assert_frame_equal(frame, before)


def test_every_purpose_has_its_own_random_numbers():
    first, again, other = (one_row_each(FRAME, TWINS, seed=seed).rng("hospitals").random(3) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert (one_row_each(FRAME, TWINS).rng("identity").random(3) != first).any()


def test_hospital_names_may_come_as_codes():
    coded = one_row_each(FRAME.assign(hospital_as_written=[4, -1, 4, 0, -1]), [0, 1, 2, 3, 4]).rows
    assert coded["hospital_as_written"].isna().tolist() == [False, True, False, False, True]
    assert coded["hospital_as_written"].dropna().tolist() == [4, 4, 0]


def test_words_match_in_any_case_and_missing_matches_nothing():
    labels = pd.Series(["Cancer", " asthma", None, "Cancers"])
    assert among(labels, ["CANCER", "Asthma "]).tolist() == [True, True, False, False]
    assert not among(labels, []).any()
    assert among(pd.Series([], dtype="str"), ["x"]).dtype == np.bool_
