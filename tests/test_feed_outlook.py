"""What the service says of the next days: of each stay by a model, of all of them as a board."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from hi_ml.prediction.feed.census import Rates, Stays, forecast
from hi_ml.prediction.feed.outlook import Forecaster
from hi_ml.prediction.feed.visits import Visit

AT = datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)  # the end of a Monday
DAY = timedelta(days=1)


class Scorer:
    """A model that foretells a short stay of the young; it refuses the age of 150."""

    def __init__(self):
        self.mapping = {"columns": [{"role": "age", "source": "Age", "kind": "number"}]}

    def predict_row(self, cells):
        if cells["Age"] == "150":
            raise ValueError("range")
        short = cells["Age"] == "20"
        return {"prediction": 1.0 if short else 12.0, "low": 0.0 if short else 8.0, "high": 2.0 if short else 16.0}


@pytest.fixture(scope="module")
def history():
    """A year of visits: six a day, who stay 5 days on average."""
    draw, visits = np.random.default_rng(1), []
    for day in range(365):
        for i in range(6):
            came = AT - (364 - day) * DAY - timedelta(hours=float(draw.uniform(0, 20)))
            left = came + float(draw.geometric(0.2)) * DAY
            status, end = ("out", left) if left <= AT else ("in", None)
            unit = "W1" if i < 4 else "W2"
            cells = {"age": "20" if i % 2 else "70"}
            visits.append(Visit(f"{day}-{i}", "", status, "I", unit, "Mercy", came, end, cells))
    return visits


def outlook(**changes):
    return Forecaster(**{"dataset": "d", "uri": "", "counted": "I", "horizons": [1, 2, 7], "interval": 0.9,
                         "units": None, **changes})  # fmt: skip


def inside(history):
    return [visit for visit in history if visit.status == "in"]


def test_without_a_model_the_board_is_that_of_counting(history):
    board = outlook().board(inside(history), {}, history, AT)
    days = np.array([(v.admitted.date() - date(1970, 1, 1)).days for v in history])
    ends = [(v.discharged.date() - date(1970, 1, 1)).days if v.discharged else None for v in history]
    stays = Stays(days, np.array([np.iinfo(np.int64).max // 4 if end is None else end for end in ends]))
    today = (AT.date() - date(1970, 1, 1)).days
    there = np.array([v.status == "in" for v in history])
    law = forecast(Rates.of(stays, today), Rates.of(stays, today).hazard, today - days[there], today=today, horizons=7)
    for horizon in board["horizons"]:
        row, said = law[horizon["days"] - 1], horizon["units"]["all"]
        assert said["mean"] == pytest.approx(row @ np.arange(len(row)), abs=0.01)
        assert said["quantiles"]["0.05"] <= said["mean"] <= said["quantiles"]["0.95"]
        assert sum(said["distribution"]) == pytest.approx(1, abs=1e-4)
        assert said["mean"] == pytest.approx(
            sum(p * (said["first"] + i) for i, p in enumerate(said["distribution"])), abs=0.01
        )
    assert [(h["date"], h["weekend"]) for h in board["horizons"]] == [
        ("2026-03-03", False), ("2026-03-04", False), ("2026-03-09", False),
    ]  # fmt: skip
    assert board["model"] is None


def test_units_add_up_to_the_whole_and_those_not_asked_for_are_left_out(history):
    first = outlook().board(inside(history), {}, history, AT)["horizons"][0]["units"]
    assert set(first) == {"all", "Mercy / W1", "Mercy / W2"}
    assert first["Mercy / W1"]["mean"] + first["Mercy / W2"]["mean"] == pytest.approx(first["all"]["mean"], abs=0.05)
    asked = outlook(units=["Mercy / W2"]).board(inside(history), {}, history, AT)["horizons"][0]["units"]
    assert asked == {"all": first["all"], "Mercy / W2": first["Mercy / W2"]}


def test_a_model_changes_what_is_expected_of_those_it_knows(history):
    site, here = outlook(), inside(history)
    assert site.score(here, 7) == []
    site._model = SimpleNamespace(uri="models:/d.length_of_stay/3", scorer=Scorer())
    scores = {row.visit: row for row in site.score(here, 7)}
    assert set(scores) == {visit.visit for visit in here}
    for row in scores.values():
        assert (row.position, row.model) == (7, "models:/d.length_of_stay/3")
        assert 0.5 < row.curve[0] <= 1
        assert all(a >= b for a, b in zip(row.curve, row.curve[1:], strict=False))
    board, plain = (site.board(here, given, history, AT) for given in (scores, {}))
    assert board["horizons"][0]["units"]["all"]["mean"] != plain["horizons"][0]["units"]["all"]["mean"]
    assert board["horizons"][0]["discharges"] > 0
    late = [visit for visit in here if visit.days(AT) > scores[visit.visit].high]
    assert [row["visit"] for row in board["over"]] == [
        visit.visit[:8] for visit in sorted(late, key=lambda visit: -visit.days(AT))
    ]


def test_of_cells_that_break_a_rule_nothing_is_predicted_and_the_board_stands(history):
    site = outlook()
    site._model = SimpleNamespace(uri="m", scorer=Scorer())
    odd = Visit("odd", "", "in", "I", "W1", "Mercy", AT - DAY, None, {"age": "150"})
    assert site.score([odd], 1) == []
    assert site.board([odd], {}, history, AT)["horizons"]


def test_before_anybody_came_nothing_is_known_and_a_model_is_only_missed_where_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = outlook()
    site.refresh()
    assert (site.model, site.board([], {}, [], AT)["verdict"]) == ("", "not yet known")
    with pytest.raises(Exception, match="nowhere"):
        outlook(uri="nowhere").refresh()
