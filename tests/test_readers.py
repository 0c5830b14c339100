"""Folders that are laid out as a standard says: which admissions do they hold, and what was known of each?"""

import json
from collections import namedtuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hi_ml.app.config import build, compose
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.table import open_source

Event = namedtuple("Event", "subject_id time code numeric_value", defaults=(None,))
DAY = np.timedelta64(1, "D")
T = pd.Timestamp("2024-03-05 10:30:00.000001")
LATER = T + pd.Timedelta(days=3)


def write_meds(folder, events, files=1, **further):
    """Write events, (subject, time, code[, number]), and what else stands beside them, as a MEDS folder."""
    frame = pd.DataFrame([Event(*one) for one in events]).assign(**further)
    frame["time"] = frame["time"].astype("datetime64[us]")
    frame["numeric_value"] = frame["numeric_value"].astype("float32")
    frame = frame.sort_values(["subject_id", "time"], kind="stable", na_position="first")
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    for number in range(files):
        path = folder / "data" / f"shard{number}" / "0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame[frame["subject_id"] % files == number].to_parquet(path, index=False)
    (folder / "metadata" / "dataset.json").write_text(json.dumps({"meds_version": "0.4.0"}))
    return folder


def table(source):
    """The table that a source hands over, as rows."""
    dataset = build(Dataset, {"name": "mine", "source": source, "columns": {"age": {"kind": "number"}}})
    return open_source(dataset.origin, dataset).table.to_pandas()


def told(rows):
    """The cells by column, none where missing."""
    return rows.astype(object).where(rows.notna(), None).to_dict("list")


@pytest.fixture
def meds(tmp_path):
    """Read events with some keys beside the reader."""

    def read_it(events, *, further=(), files=1, **keys):
        folder = write_meds(tmp_path / "meds", events, files, **dict(further))
        return table({"reader": "meds", "path": str(folder), "cut": "before", **keys})

    return read_it


VISIT = [(1, T, "HOSPITAL_ADMISSION//EMERGENCY//WARD"), (1, LATER, "HOSPITAL_DISCHARGE//HOME")]


@pytest.mark.parametrize(("cut", "value", "count"), [("before", 1.0, 1), ("at", 2.0, 2)])
def test_an_event_at_exactly_the_moment_is_out_before_and_in_at_it(meds, cut, value, count):
    tick = pd.Timedelta(microseconds=1)
    events = [*VISIT, (1, T - tick, "LAB//K", 1.0), (1, T, "LAB//K", 2.0), (1, T + tick, "LAB//K", 3.0)]
    row = meds(events, cut=cut, codes=["last LAB//K", "count LAB"]).iloc[0]
    assert (row["last LAB//K"], row["count LAB"]) == (value, count)


def test_without_a_cut_nothing_is_read_and_the_sentence_says_what_to_write(tmp_path):
    folder = write_meds(tmp_path, VISIT)
    with pytest.raises(ConfigurationInvalid, match="cut: before"):
        table({"reader": "meds", "path": str(folder)})
    with pytest.raises(ConfigurationInvalid, match="cut: before"):
        table(str(folder))


def test_until_the_discharge_events_of_the_stay_count_and_must_be_known_then(meds, tmp_path):
    events = [*VISIT, (1, T + DAY, "LAB//K", 5.0), (1, LATER, "LAB//K", 6.0), (2, T, "HOSPITAL_ADMISSION")]
    rows = meds(events, moment="discharge", codes=["last LAB//K"])
    assert rows["last LAB//K"].tolist()[0] == 5.0
    assert rows.loc[1, ["last LAB//K", "events"]].isna().all()  # not discharged yet
    source = {"reader": "meds", "path": str(tmp_path / "meds"), "cut": "at", "moment": "discharge"}
    said = {"name": "mine", "source": source, "columns": {}, "known": {"admission": ["events..hours_since_event"]}}
    with pytest.raises(ConfigurationInvalid, match="known: discharge"):
        read(build(Dataset, said), lambda _: tmp_path)
    later = {**said, "known": {"discharge": ["events..hours_since_event"]}}
    sooner = {**said, "source": {**source, "moment": "admission"}}
    assert [len(read(build(Dataset, one), lambda _: tmp_path).table) for one in (later, sooner)] == [2, 2]


@pytest.mark.parametrize(
    ("events", "stays"),
    [
        pytest.param([(0, "S"), (2, "E"), (2, "S"), (5, "E")], [(0, 2), (2, 5)], id="a transfer at one moment"),
        pytest.param([(0, "S"), (0, "E"), (3, "S"), (4, "E")], [(0, 0), (3, 4)], id="no time inside"),
        pytest.param([(0, "S"), (2, "S"), (5, "E")], [(0, None), (2, 5)], id="an end that is lost"),
        pytest.param([(0, "E"), (2, "S"), (5, "E"), (6, "E")], [(2, 5)], id="ends without a start"),
        pytest.param([(0, "S"), (0, "S"), (5, "E")], [(0, 5)], id="a start with two codes"),
        pytest.param([(0, "S")], [(0, None)], id="not ended"),
    ],
)
def test_a_stay_ends_with_the_first_end_before_the_next_start(meds, events, stays):
    codes = {"S": "HOSPITAL_ADMISSION", "E": "HOSPITAL_DISCHARGE//HOME"}
    rows = meds([(7, T + day * DAY, codes[code]) for day, code in events])
    days = [
        ((start - T) / DAY, (end - T) / DAY) for start, end in zip(rows.admitted_on, rows.discharged_on, strict=True)
    ]
    assert [(start, None if np.isnan(end) else end) for start, end in days] == stays


def test_what_is_said_of_a_subject_and_of_the_admission_stands_in_its_row(meds, tmp_path):
    (tmp_path / "meds/metadata").mkdir(parents=True)
    splits = pa.table({"subject_id": [1, 2], "split": ["train", "held_out"]})
    pq.write_table(splits, tmp_path / "meds/metadata/subject_splits.parquet")
    codes = pa.table({"code": ["RX//1", "RX//2"], "parent_codes": [["ATC//N02"], ["ATC//N02", "ATC//X"]]})
    pq.write_table(codes, tmp_path / "meds/metadata/codes.parquet")
    events = [
        (2, None, "GENDER//F"), (2, None, "RACE//B"), (2, pd.Timestamp("1984-03-06"), "MEDS_BIRTH"),
        (1, pd.Timestamp("1984-03-05"), "MEDS_BIRTH"), *VISIT, (1, T - DAY, "RX//1"), (1, T - DAY, "RX//2"),
        (2, T, "HOSPITAL_ADMISSION//ELECTIVE"), (2, LATER, "HOSPITAL_DISCHARGE//DIED"), (2, LATER, "MEDS_DEATH"),
        (1, LATER + 20 * DAY, "HOSPITAL_ADMISSION//URGENT"), (1, LATER + 60 * DAY, "HOSPITAL_DISCHARGE//HOME"),
    ]  # fmt: skip
    rows = told(meds(events, codes=["count ATC//N02", "count ATC//X"], further={"ward": "B3"}, files=2))
    assert rows["subject_id"] == [1, 1, 2]
    assert rows["subject_split"] == ["train", "train", "held_out"]
    assert rows["age"] == [40, 40, 39]  # born a day later, a day short of forty
    assert rows["sex"] == [None, None, "F"]
    assert rows["static RACE"] == [None, None, "B"]
    assert rows["admission_type"] == ["EMERGENCY", "URGENT", "ELECTIVE"]
    assert rows["admission_source"] == ["WARD", None, None]
    assert rows["disposition"] == ["HOME", "HOME", "DIED"]
    assert rows["ward"] == ["B3"] * 3
    assert rows["count ATC//N02"] == [2, 2, 0]
    assert rows["count ATC//X"] == [1, 1, 0]
    assert rows["earlier_admissions"] == [0, 1, 0]
    assert rows["days_since_discharge"][1] == 20
    assert rows["readmitted"] == ["<30", None, None]  # the last: too early to tell; died
    assert rows["died_on"][2] == LATER


def test_the_numbers_of_many_subjects_equal_those_of_a_loop(meds):
    rng = np.random.default_rng(3)
    minutes = pd.to_timedelta(rng.integers(0, 60 * 24 * 9, 900), unit="min")
    names = np.array(["HOSPITAL_ADMISSION//A", "HOSPITAL_DISCHARGE//B", "LAB//1", "LAB//2", "RX"])
    events = [
        (subject, time, code, None if value < -1 else value)
        for subject, time, code, value in zip(
            rng.integers(0, 40, 900), T + minutes, names[rng.integers(0, 5, 900)], rng.normal(size=900), strict=True
        )
    ]
    rows = meds(events, cut="at", files=3, codes=["LAB//1", "count LAB", "count RX"])
    assert len(rows) > 100
    for row in rows.to_dict("records"):
        known = [one for one in events if one[0] == row["subject_id"] and one[1] <= row["admitted_on"]]
        assert row["events"] == len(known)
        assert row["count LAB"] == sum(code.startswith("LAB//") for _, _, code, _ in known)
        assert row["count RX"] == sum(code == "RX" for _, _, code, _ in known)
        values = sorted((time, value) for _, time, code, value in known if code == "LAB//1" and value is not None)
        tied = {np.float32(value) for time, value in values if time == values[-1][0]}
        assert row["last LAB//1"] in tied if values else np.isnan(row["last LAB//1"])


def test_without_a_list_the_codes_of_most_subjects_become_columns(meds):
    events = [
        one for subject in range(4) for one in ((subject, T, "HOSPITAL_ADMISSION"), (subject, T - DAY, "LAB//A", 1.0))
    ]
    rows = meds([*events, *[(1, T - DAY, "LAB//B", 1.0)] * 9, (2, T - DAY, "RX//C"), (3, T - DAY, "RX//C")], most=2)
    assert [name for name in rows if "//" in name] == ["last LAB//A", "count RX//C"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"start": ["VISIT"]}, r"no admission begins.*start: \[<code>\].*HOSPITAL_ADMISSION"),
        ({"cut": "behind"}, "before"),
        ({"path": "/nowhere"}, r"data/\*\*/\*\.parquet"),
        ({"codez": ["LAB"]}, "codez"),
        ({"reader": "fhir"}, "expected meds or omop"),
    ],
)
def test_what_cannot_be_read_so_is_refused_with_what_to_write(meds, keys, sentence):
    with pytest.raises((SourceUnreadable, ValueError), match=sentence):
        meds(VISIT, **keys)


def visits():
    """Tables of 5.4: visits of persons 1 and 2, a day apart, and what is said of them."""
    visit = {
        "visit_occurrence_id": [10, 11, 12, 13], "person_id": [1, 1, 2, 2], "visit_concept_id": [9201, 9201, 262, 9202],
        "visit_start_date": ["2024-03-05", "2024-03-20", "2024-03-05", "2024-03-09"],
        "visit_start_datetime": ["2024-03-05 08:00:00", "", "2024-03-05 23:00:00", ""],
        "visit_end_date": ["2024-03-08", "2024-03-21", "2024-03-06", "2024-03-09"],
        "visit_end_datetime": ["2024-03-08 10:00:00", "", "", ""], "care_site_id": ["5.0", "", "6.0", "6.0"],
        "admitted_from_concept_id": [0, 0, 8546, 0], "admitted_from_source_value": ["home", "", "", ""],
        "discharged_to_concept_id": [8536, 0, 0, 0], "discharged_to_source_value": ["", "", "DIED", ""],
    }  # fmt: skip
    return {
        "visit_occurrence": visit,
        "person": {"person_id": [1, 2], "gender_concept_id": [8507, 8532], "year_of_birth": [1950, 1960],
                   "month_of_birth": [3, 3], "day_of_birth": [5, 6], "birth_datetime": ["", "1960-03-06 00:00:00"]},
        "care_site": {"care_site_id": [5, 6], "care_site_name": ["North", "South"]},
        "condition_occurrence": {"condition_occurrence_id": [3, 2, 1, 9], "visit_occurrence_id": [10, 10, 10, 12],
                                 "condition_concept_id": [316139, 201826, 4329847, 0],
                                 "condition_status_concept_id": [0, 32902, 0, 0],
                                 "condition_source_value": ["I50.9", "E11.9", "I21", "X99"]},
        "cost": {"cost_id": [1, 2, 3], "cost_event_id": [10, 10, 12], "cost_domain_id": ["Visit", "visit", "Drug"],
                 "total_charge": [100.5, 20, 7], "total_paid": [50, "", 7]},
        "death": {"person_id": [2], "death_date": ["2024-03-06"]},
        "observation_period": {"person_id": [1, 2], "observation_period_end_date": ["2024-12-31", "2024-03-06"]},
        "concept": {"concept_id": [8507, 8532, 9201, 201826, 8536, 8546],
                    "concept_name": ["MALE", "FEMALE", "Inpatient Visit", "Type 2 diabetes", "Home", "Hospice"]},
    }  # fmt: skip


def as_53(tables):
    names = {
        f"{ours}_{part}": f"{theirs}_{part}"
        for ours, theirs in (("admitted_from", "admitting_source"), ("discharged_to", "discharge_to"))
        for part in ("concept_id", "source_value")
    }
    renamed = {names.get(name, name): cells for name, cells in tables["visit_occurrence"].items()}
    return {**tables, "visit_occurrence": renamed}


def write_omop(folder, tables, form="csv", upper=False, separator=","):
    folder.mkdir(parents=True, exist_ok=True)
    for name, cells in tables.items():
        frame = pd.DataFrame(cells)
        if form == "parquet":
            for column in frame:
                if column.endswith(("_date", "_datetime")):
                    frame[column] = pd.to_datetime(frame[column].replace("", None))
                elif frame[column].dtype == object:
                    frame[column] = frame[column].replace("", None)
                    if column.endswith("_id") or column.startswith("total"):
                        frame[column] = frame[column].astype("float")
        frame.columns = frame.columns.str.upper() if upper else frame.columns
        path = folder / f"{name.upper() if upper else name}.{form}"
        frame.to_parquet(path, index=False) if form == "parquet" else frame.to_csv(path, index=False, sep=separator)
    return folder


@pytest.mark.parametrize(
    "written",
    [
        pytest.param({}, id="5.4 CSV"),
        pytest.param({"upper": True, "separator": "\t"}, id="5.4 TSV, upper case"),
        pytest.param({"form": "parquet"}, id="5.4 Parquet"),
        pytest.param({"older": True}, id="5.3 CSV"),
    ],
)
def test_visits_become_admissions_with_what_the_other_tables_say(tmp_path, written):
    tables = visits()
    if written.pop("older", False):
        tables = as_53(tables)
    rows = table({"reader": "omop", "path": str(write_omop(tmp_path / "omop", tables, **written))})
    cells = told(rows)
    assert cells["visit_occurrence_id"] == ["10", "11", "12"]
    assert cells["person_id"] == ["1", "1", "2"]
    assert cells["visit"] == ["Inpatient Visit", "Inpatient Visit", "262"]
    assert [str(one)[:19] for one in pd.to_datetime(rows["admitted_on"], format="mixed")] == [
        "2024-03-05 08:00:00", "2024-03-20 00:00:00", "2024-03-05 23:00:00",
    ]  # fmt: skip
    assert cells["age"] == [74, 74, 63]
    assert cells["sex"] == ["MALE", "MALE", "FEMALE"]
    assert cells["care_site"] == ["North", None, "South"]
    assert cells["admission_source"] == ["home", None, "Hospice"]
    assert cells["disposition"] == ["Home", None, "DIED"]
    assert cells["condition"] == ["Type 2 diabetes", None, "X99"]
    assert cells["condition_code"] == ["E11.9", None, "X99"]
    assert cells["conditions"] == [3, 0, 1]
    assert cells["total_charge"] == [120.5, None, None]
    assert cells["total_paid"] == [50, None, None]
    assert cells["earlier_admissions"] == [0, 1, 0]
    assert cells["readmitted"] == ["<30", "NO", None]  # the last died in hospital


def test_two_tables_are_enough_and_two_are_needed(tmp_path):
    tables = visits()
    folder = write_omop(tmp_path / "omop", {name: tables[name] for name in ("visit_occurrence", "person")})
    rows = table(str(folder))
    assert rows["sex"].tolist() == ["8507", "8507", "8532"]
    assert rows[["condition", "total_charge", "died_on"]].isna().all(axis=None)
    with pytest.raises(SourceUnreadable, match=r"9203.*visits: \[<visit_concept_id>\].*9201"):
        table({"reader": "omop", "path": str(folder), "visits": [9203]})
    assert len(table({"reader": "omop", "path": str(folder), "visits": ["all"]})) == 4
    (folder / "person.csv").unlink()
    with pytest.raises(SourceUnreadable, match=r"person\.csv"):
        table({"reader": "omop", "path": str(folder)})


def test_the_shipped_datasets_read_such_folders_and_subjects_stay_private(tmp_path):
    events = []
    for who in range(30):
        said = [(None, "GENDER//F"), (T - 9000 * DAY, "MEDS_BIRTH"), (T - DAY, "LAB", who)]
        stay = [(T + who * DAY, "HOSPITAL_ADMISSION//E"), (T + (who + 3) * DAY, "HOSPITAL_DISCHARGE")]
        events += [(who, *one) for one in said + stay]
    folders = {"meds": write_meds(tmp_path / "meds", events), "omop": write_omop(tmp_path / "omop", visits())}
    for name, folder in folders.items():
        node = compose("train", f"dataset={name}", f"dataset.source.path={folder}")["dataset"]
        admissions = read(build(Dataset, node), lambda _: tmp_path)
        assert admissions.identity == "patient_id"
        assert admissions.dataset.columns["patient_id"].private
        assert "patient_id" not in admissions.table
        assert (admissions.table["length_of_stay"] > 0).all()


@pytest.mark.slow
def test_a_model_of_events_is_served_on_another_folder_read_the_same_way(called, here):
    """Planted: a stay is three times as long where the last value is high. No file of a run holds a subject."""
    rng = np.random.default_rng(0)

    def folder(name, subjects, *, rx):
        events = []
        for subject in 918_273_000 + np.arange(subjects):
            high, start = rng.integers(2), T + rng.integers(0, 400) * DAY
            said = [(start - DAY, "LAB//K", high), (start, "HOSPITAL_ADMISSION//E//A")]
            events += [(subject, *one) for one in said + [(start - DAY, "RX")] * rng.integers(rx + 1)]
            end = start + rng.integers(5, 8) * (1 + 2 * high) * DAY
            events.append((subject, end, f"HOSPITAL_DISCHARGE//{'HOME' if subject % 4 else 'DIED'}"))
        return write_meds(here / name, events, 2)

    mine = ("dataset=meds", f"dataset.source.path={folder('meds', 400, rx=2)}", "task=length_of_stay")
    mine += ("++dataset.drop=[{where: {disposition: [Died]}, why: died}]",)
    called("train", here / "run", *mine, "model=linear", "explain.rows=0")
    night = folder("night", 8, rx=0)
    called("predict", here / "scored", *mine, f"input={night}", "output=scored.csv")
    scored = pd.read_csv("scored.csv")
    truth = table({"reader": "meds", "path": str(night), "cut": "before"})
    high = (truth["last LAB//K"] > 0).to_numpy()
    predicted = scored.filter(like="prediction").iloc[:, 0]
    assert 2 < predicted[high].mean() / predicted[~high].mean() < 4
    assert (scored["left_out"] == "died").tolist() == (truth["disposition"] == "DIED").tolist()
    assert json.loads((here / "scored.csv.manifest.json").read_text())["rows_left_out"] == {"died": 2}
    called("predict", here / "verified", "verify=scored.csv.manifest.json")
    with pytest.raises(ConfigurationInvalid, match=r"cut: at.*cut: before"):
        called("predict", here / "other", *mine, f"input={{reader: meds, path: {night}, cut: at}}", "output=x.csv")
    written = [path for place in ("run", "scored", "mlruns") for path in (here / place).rglob("*") if path.is_file()]
    assert not [path for path in (*written, here / "scored.csv") if b"918273" in path.read_bytes()]
    called("describe", here / "described", f"source={{reader: meds, path: {night}, cut: before}}")
    assert b"918273" not in (here / "described/dataset/night.yaml").read_bytes()
