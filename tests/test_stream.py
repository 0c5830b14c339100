from datetime import datetime, timedelta

import numpy as np
import pyarrow.csv as pv
import pytest

from hi_ml import simulate as command
from hi_ml.data.simulation import stream
from hi_ml.data.simulation.simulate import FIRST_DAY
from hi_ml.data.simulation.stream import RHYTHMS, census, weekday


@pytest.fixture(scope="module", params=RHYTHMS)
def feed(request):
    return stream(request.param, 3000, seed=3)


def told(messages):
    """Who came and went by the messages of a feed without disorder: per visit what its last words say."""
    visits, renamed = {}, {}
    for _, text in messages:
        lines = {line.split("|")[0]: line.split("|") for line in text.split("\r") if line}
        trigger, patient = lines["MSH"][8].split("^")[1], lines["PID"][3].split("^")[0]
        if trigger == "A40":
            renamed[lines["MRG"][1].split("^")[0]] = patient
            continue
        pv1 = lines["PV1"]
        visit = visits.setdefault(pv1[19], {"went": None})
        visit |= {"patient": patient, "unit": pv1[3].split("^")[0], "condition": lines["DG1"][3]}
        visit |= {"came": pv1[44], "cancelled": trigger == "A11", "born": lines["PID"][7]}
        visit["went"] = pv1[45] if trigger == "A03" else None
    for visit in visits.values():
        visit["patient"] = renamed.get(visit["patient"], visit["patient"])
    return {number: visit for number, visit in visits.items() if not visit["cancelled"]}


def test_the_messages_say_what_the_table_says(feed):
    visits, table = told(feed.messages), feed.simulated.table.to_pandas()
    assert len(visits) == len(table) == 3000
    assert {visit["patient"][0] for visit in visits.values()} == {"P"}
    for (_, visit), row in zip(sorted(visits.items()), table.to_dict("records"), strict=True):
        came = datetime.strptime(visit["came"], "%Y%m%d%H%M%S")  # noqa: DTZ007 -- the hospital's clock
        born = datetime.strptime(visit["born"], "%Y%m%d")  # noqa: DTZ007 -- the same
        went = visit["went"] and f"{row['Discharge Date']:%Y%m%d}"
        assert visit["condition"] == row["Medical Condition"]
        assert f"{came:%Y-%m-%d}" == str(row["Date of Admission"])[:10]
        assert came.year - born.year - ((came.month, came.day) < (born.month, born.day)) == row["Age"]
        assert (visit["went"] or "")[:8] == (went or "")
    assert sum(visit["went"] is None for visit in visits.values()) == census(feed)[-1]
    assert [at for at, _ in feed.messages] == sorted(at for at, _ in feed.messages)


def test_the_census_counts_who_came_and_did_not_go(feed):
    day = 60
    end = np.datetime64(FIRST_DAY + timedelta(days=day + 1))
    assert census(feed)[day] == ((feed.visits["came"] < end) & (feed.visits["went"] >= end)).sum() > 300


def test_days_are_as_uneven_as_the_scenario_says():
    ratio, share = {}, {}
    for name in RHYTHMS:
        visits = stream(name, 12_000, seed=1).visits
        coming = np.bincount(visits["admitted"])[:-1]
        ratio[name] = coming.var() / coming.mean()
        share[name] = (weekday(visits["left"].to_numpy()) >= 5).mean()
    assert 0.8 < ratio["plain"] < 1.2
    assert 2.2 < ratio["hard"] < 3.2
    assert 0.27 < share["plain"] < 0.3
    assert 0.1 < share["hard"] < 0.14


def test_the_command_writes_the_feed_its_visits_and_its_truth(inside, tmp_path):
    ended = inside(command.main, "stream=true", "rows=300", "output=far/feed.hl7")
    assert ended.code == 0
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["feed.csv", "feed.hl7", "feed.truth.json"]
    assert pv.read_csv(tmp_path / "far" / "feed.csv").num_rows == 300
    assert inside(command.main, "stream=true", "rows=300", "output=feed.csv").stderr.startswith(
        "OutputFailed: simulate needs output=<file>.hl7; found output=feed.csv."
    )
    assert "must be plain or hard" in inside(command.main, "stream=true", "scenario=noise", "output=feed.hl7").stderr
