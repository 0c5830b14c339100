import pytest

from hi_ml.app.errors import (
    ColumnProblem,
    ConfigurationInvalid,
    NotTrainable,
    SourceUnreadable,
    TooManyRejected,
    TrackingFailed,
    Unserved,
)


def test_a_single_failure_stays_what_it_is():
    one = NotTrainable("first")
    assert Unserved.of([one]) is one


def test_several_failures_are_told_one_a_line():
    assert str(Unserved.of([NotTrainable("first"), TrackingFailed("second")])).splitlines() == [
        "NotTrainable: first",
        "TrackingFailed: second",
    ]


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("Insurer", ["Insurers", "Payer"], "did you mean Insurers?"),
        ("Age", ["AGE"], "did you mean AGE?"),
        ("Age", [" age "], "did you mean ' age '?"),
        ("Age", ["Blood\nAge"], None),
        ("Age", ["Zodiac"], None),
    ],
)
def test_a_hint_is_given_where_a_name_is_near(name, known, hint):
    said = str(ConfigurationInvalid.not_one_of("key", name, known))
    assert (hint or "did you mean") in said or hint is None
    assert ("did you mean" in said) == (hint is not None)


def test_long_lists_are_cut():
    described = {f"role_{i}": f"Column {i}" for i in range(20)}
    said = str(ColumnProblem.missing("a.csv", "mine", described, ["Column 3"]))
    assert "'Column 5' (did you mean Column 3?) and 14 more" in said
    assert said.endswith("in dataset/mine.yaml.")


def test_a_reason_is_put_in_one_line_without_its_full_stop():
    said = str(SourceUnreadable.format("a.csv", "it broke\n in  two.."))
    assert said.startswith("a.csv cannot be read as a table: it broke in two. Expected CSV")


def test_the_rows_that_were_rejected_are_counted_against_what_was_allowed(tmp_path):
    said = str(TooManyRejected.of("a.csv", ["Age number 7"], (7, 100, 0.05), tmp_path / "rejected.csv"))
    assert "7 of 100 rows cannot be read (7.0%; at most 5.0% may be). Broken rules: Age number 7." in said
    assert "none is left" in str(TooManyRejected.of("a.csv", [], (3, 3, 0.05), tmp_path))


def test_a_store_that_fails_is_quoted_without_its_statement(tmp_path):
    reason = "(raised as a result of Query-invoked autoflush; x)\n(sqlite3.OperationalError) readonly [SQL: INSERT (?)]"
    said = str(TrackingFailed.of(tmp_path, "sqlite:///a.db", reason))
    assert "did not take the run: (sqlite3.OperationalError) readonly. Nothing is lost" in said
    assert f"python -m hi_ml.track run={tmp_path}" in said
    assert "it gave no reason" in str(TrackingFailed.of(tmp_path, "sqlite:///a.db", ""))
