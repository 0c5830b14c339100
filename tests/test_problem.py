"""What the screen says of the rows that a table lost before it was learned from."""

import numpy as np
import pandas as pd
import pytest

import hi_ml
from hi_ml.app.errors import NotTrainable


@pytest.fixture
def posed(tmp_path, cells):
    """Pose a task on the table with some cells damaged, and return the notes on what was set aside."""

    def pose(damage, task, **columns):
        frame = cells.assign(**columns)
        for column, row, value in damage:
            frame.loc[row, column] = value
        frame.to_csv(tmp_path / "mine.csv", index=False)
        problem = hi_ml.pose(hi_ml.read(tmp_path / "mine.csv", max_rejected=0.2), task)
        return [note for note in problem.notes if note.startswith("Set aside")]

    return pose


def test_the_rules_are_counted_and_the_target_of_what_they_took_is_held_against_what_is_kept(posed, cells):
    days = (pd.to_datetime(cells["Discharge Date"]) - pd.to_datetime(cells["Date of Admission"])).dt.days
    longest = days.nlargest(12).index
    (note,) = posed([("Age", row, "??") for row in longest] + [("Room Number", longest[0], "attic")], "length_of_stay")
    kept = days.drop(longest).mean()
    assert note == (
        "Set aside: 12 of 300 rows (Age number 12, Room Number number fewer than 5); mean length_of_stay "
        f"{kept:.2f} days kept, {days[longest].mean():.2f} set aside (of 12 rows where it can be read)."
    )


def test_of_labels_the_one_that_differs_most_is_named(posed, cells):
    abnormal = cells.index[cells["Test Results"] == "Abnormal"][:10]
    (note,) = posed([("Age", row, "??") for row in abnormal], "test_results")
    assert "Abnormal" in note
    assert "100.0 % set aside" in note


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ([("Age", row, "??") for row in range(4)], "fewer than 5 have a target, too few to say how they differ"),
        ([("Discharge Date", row, "soon") for row in range(9)], "their target is not known"),
        ([], None),
    ],
)
def test_a_few_rows_tell_no_mean_for_it_would_be_theirs(posed, damage, words):
    notes = posed(damage, "length_of_stay")
    assert (words is None and not notes) or words in notes[0]


def test_the_rows_of_a_label_that_few_patients_have_are_left_out_and_said_to_be(tmp_path, cells):
    results = cells["Test Results"].where(cells.index > 3, "Strange").where(cells.index < 220, "Seldom")
    results = results.where(cells.index < 280, "Rare")  # of more than 5 patients, but not in the test part
    cells.assign(**{"Test Results": results}).to_csv(tmp_path / "mine.csv", index=False)
    problem = hi_ml.pose(hi_ml.read(tmp_path / "mine.csv"), "test_results")
    assert problem.labels == ["Abnormal", "Inconclusive", "Normal", "Seldom"]
    assert len(problem.target) == len(cells) - 4 - 20
    assert "Left out: the rows of 2 labels of test_result, each of fewer than 5 patients" in problem.notes[0]
    rare = cells.assign(**{"Test Results": results.where(cells.index < 4, "Usual")})
    rare.to_csv(tmp_path / "rare.csv", index=False)
    with pytest.raises(NotTrainable, match="found one that 5 patients of the training part have"):
        hi_ml.pose(hi_ml.read(tmp_path / "rare.csv"), "test_results")


def test_an_outcome_of_few_in_the_test_part_alone_is_kept_for_that_is_a_verdict(tmp_path, cells):
    split = hi_ml.pose(hi_ml.read(written(tmp_path / "whole.csv", cells)), "test_results").where("test")
    dies = (np.cumsum(~split) <= 20) & ~split
    dies[np.flatnonzero(split)[:3]] = True
    problem = hi_ml.pose(
        hi_ml.read(written(tmp_path / "rare.csv", cells.assign(**{"Test Results": np.where(dies, "Died", "Lived")}))),
        "test_results",
    )
    assert (problem.labels, len(problem.target)) == (["Died", "Lived"], len(cells))


def written(path, cells):
    cells.to_csv(path, index=False)
    return path
