"""The board of a log, and what watches over it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hi_ml import board as command
from hi_ml.data import simulation
from hi_ml.interface import declare
from hi_ml.prediction.feed import watch
from hi_ml.prediction.feed.census import Stays
from hi_ml.prediction.feed.log import Log
from hi_ml.prediction.feed.outlook import Forecaster
from hi_ml.prediction.feed.visits import Visit

AT = datetime(2019, 8, 20, 10, 30, tzinfo=UTC)
ROLES = {"age": "Age", "sex": "Gender", "condition": "Medical Condition", "insurer": "Insurance Provider"}


@pytest.fixture(scope="module")
def visits():
    """Whoever came in the first 104 days of a simulated hospital."""
    drawn = simulation.stream("plain", 3000, seed=4)
    rows, times = drawn.simulated.table.to_pylist(), drawn.visits
    ends = (times[end].dt.to_pydatetime() for end in ("came", "went"))
    return [
        Visit(
            f"{number:016x}",
            status="in" if went > AT else "out",
            patient_class="I",
            unit=unit,
            hospital="General",
            admitted=came,
            discharged=None if went > AT else went,
            features={role: str(row[name]) for role, name in ROLES.items()} | {"admitted_on": came.date().isoformat()},
        )
        for number, (row, came, went, unit) in enumerate(
            (row, *(end.replace(tzinfo=UTC) for end in (came, went)), unit)
            for row, came, went, unit in zip(rows, *ends, times["unit"], strict=True)
        )
        if came <= AT
    ]


@pytest.fixture(scope="module")
def model(called, tmp_path_factory):
    words = ["task=length_of_stay", "dataset.rows=2000", "explain.rows=0", "tracking=none", "assessments.leakage=null"]
    return called("train", tmp_path_factory.mktemp("run"), *words) / "length_of_stay"


def forecaster(uri, **more):
    return Forecaster(declare("kaggle"), str(uri), [1, 2, 7], 0.9, **more)


def here_of(visits):
    return [visit for visit in visits if visit.status == "in"]


@pytest.mark.slow
def test_a_board_says_how_many_beds_will_be_taken(visits, model):
    outlook = forecaster(model)
    outlook.refresh()
    here = here_of(visits)
    scores = {row.visit: row for row in outlook.score(here, 7)}
    assert set(scores) == {visit.visit for visit in here}
    assert all((np.diff(row.curve) <= 0).all() and row.low < row.high for row in scores.values())
    drawn = outlook.board(here, scores, visits, AT)
    assert [(day["days"], day["date"], day["weekend"]) for day in drawn["horizons"]] == [
        (1, "2019-08-21", False), (2, "2019-08-22", False), (7, "2019-08-27", False),
    ]  # fmt: skip
    for day in drawn["horizons"]:
        whole, *units = day["units"].values()
        assert 0.85 * len(here) < whole["mean"] < 1.15 * len(here)
        assert sum(unit["mean"] for unit in units) == pytest.approx(whole["mean"], rel=1e-3)
        numbers = whole["first"] + np.arange(len(whole["distribution"]))
        assert np.dot(whole["distribution"], numbers) == pytest.approx(whole["mean"], abs=0.01)
        low, middle, high = whole["quantiles"].values()
        assert low < middle < high
        assert 15 < day["discharges"] < 40
    assert drawn["verdict"] == "not yet known"
    assert len(units) == 8
    assert {one["visit"] for one in drawn["over"]} == {
        visit.visit[:8] for visit in here if visit.days(AT) > scores[visit.visit].high
    }


def test_without_a_model_all_are_counted_alike(visits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outlook = forecaster("models:/x.length_of_stay@champion", required=False)
    outlook.refresh()
    assert outlook.score(here_of(visits), 1) == []
    drawn = outlook.board(here_of(visits), {}, visits, AT)
    assert drawn["horizons"][0]["units"]["all"]["mean"] == pytest.approx(len(here_of(visits)), rel=0.1)
    nobody = forecaster("models:/x.length_of_stay@champion", required=False).board([], {}, [], AT)
    assert nobody["horizons"][0]["units"]["all"]["mean"] == 0


@pytest.mark.slow
def test_a_column_that_has_moved_since_training_is_told_and_one_strange_cell_hides_nothing(visits, model):
    outlook = forecaster(model)
    outlook.refresh()
    sick = [replace(visit, features={**visit.features, "condition": "Asthma"}) for visit in visits]
    sick[-1] = replace(sick[-1], features={**sick[-1].features, "age": "old"})
    before, after = (
        {alarm["name"]: alarm["sentence"] for alarm in outlook.board([], {}, those, at)["alarms"]}
        for those, at in ((visits, AT), (sick, AT + timedelta(days=1)))
    )
    assert "column Admission Type" in before  # which these messages do not fill
    assert "column Medical Condition" not in before
    assert after["column Medical Condition"].startswith("Medical Condition: Asthma in ")


@pytest.mark.slow
def test_a_visit_with_cells_that_nobody_can_read_is_predicted_without_them(model):
    outlook = forecaster(model)
    outlook.refresh()
    strange = Visit("a", "", "in", "I", "W1", "General", AT, None, {"age": "old", "sex": "Male", "condition": "Asthma"})
    plain = Visit("b", "", "in", "I", "W1", "General", AT, None, {"sex": "Male", "condition": "Asthma"})
    first, second = outlook.score([strange, plain], 1)
    assert first[3:] == second[3:]


def test_one_board_is_drawn_from_the_log(inside, tmp_path):
    Log.open(tmp_path / "live.sqlite", UTC).close()
    ended = inside(command.main, "at=2026-11-29T08:00", "zone=UTC")
    assert ended.code == 0, ended.stderr
    assert "0 beds taken, 2026-11-29 08:00" in ended.stdout
    (folder,) = (tmp_path / "outputs" / "board").iterdir()
    assert {"board.csv", "board_details.json", "report.html"} <= {path.name for path in folder.iterdir()}
    assert inside(command.main, "at=soon").stderr.startswith("ConfigurationInvalid: at takes a moment such as")
    assert inside(command.main, "log.path=none.sqlite").stderr.startswith("OutputFailed: ")


# What watches over it


def steady(days=760, per_day=20, longer=1.0, since=700, seed=0):
    rng = np.random.default_rng(seed)
    admitted = np.repeat(np.arange(days), per_day)
    stay = 1 + rng.binomial(20, rng.beta(2, 2, len(admitted)))
    rest = np.maximum(admitted + stay - since, 0)
    return Stays(admitted, admitted + stay + np.rint(rest * (longer - 1)).astype(int))


def test_stays_that_become_longer_are_told_within_two_weeks_and_steady_ones_are_not():
    drifted, same = steady(longer=1.25), steady()
    alarms = [day for day in range(700, 714) if watch.watch_stays(drifted, day)]
    assert alarms
    assert watch.watch_stays(drifted, alarms[0]).sentence.startswith("Stays have become longer: in 10 days ")
    assert not any(watch.watch_stays(same, day) for day in range(690, 730, 9))
    assert watch.watch_stays(steady(days=90), 89) is None


def test_coverage_is_told_of_weeks_whose_intervals_have_passed():
    """By discharge, the short stays of the last weeks would count, and the long ones not."""
    stays = steady(days=200)
    low, high = np.full(len(stays.admitted), 4.0), np.full(len(stays.admitted), 17.0)
    whole = ((stays.left - stays.admitted >= 4) & (stays.left - stays.admitted <= 17)).mean()
    misses, counts = watch.misses_by_week(stays, low, high, 150)
    assert (counts[1:] == 7 * 20).all()
    assert 7 * 20 * len(counts) > 20 * (150 - 18 - 7)
    assert 1 - misses.mean() == pytest.approx(whole, abs=0.02)
    assert watch.tell_coverage(misses[:0], counts[:0], 0.9)[0].startswith("not yet known")
    assert watch.tell_coverage(misses, counts, 0.95)[1].name == "coverage"
    assert watch.tell_coverage(misses, counts, 0.6)[1] is None


def test_a_level_that_is_adapted_ends_where_intervals_hold_what_they_promise():
    outside = 0.1
    history = []
    for _ in range(60):
        history.append(1.5 * outside)
        outside = 1 - watch.adapted_level(0.9, history)
    assert 1.5 * outside == pytest.approx(0.1, abs=0.005)
