"""A joined table equals a dictionary of keys, and what would lose, double or guess rows is refused."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest

import hi_ml
from hi_ml import findings, predict, simulate
from hi_ml.app.config import build, compose
from hi_ml.app.errors import ColumnProblem, JoinRefused
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.data.joins import join
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.files import sha256
from hi_ml.data.sources.table import load
from hi_ml.findings import ready
from hi_ml.tracking.store import store_uri

KEYS = ["1", "01", "001", "a", "A", "b b", "é", "10", "1.5"]
CATEGORY = {"kind": "category", "known": "admission"}


def table(source, columns, joins):
    return build(Dataset, {"name": "mine", "source": str(source), "columns": columns, "joins": joins})


@pytest.fixture
def joined(tmp_path):
    """Write two tables and join them: the columns of the whole as lists, and what is said of the join."""

    def join_them(left, right, *, give, columns=(), kind="csv", **keys):
        left.to_csv(tmp_path / "left.csv", index=False)
        path = tmp_path / f"right.{kind}"
        right.to_parquet(path) if kind == "parquet" else right.to_csv(path, index=False)
        own = dict.fromkeys(left, CATEGORY) | dict(columns)
        other = {"source": str(path), "known": "admission", "columns": give, **keys}
        dataset = table(tmp_path / "left.csv", own, {"other": other})
        dataset, raw, *_ = load(dataset)
        raw, said = join(raw, dataset)
        return raw.table.to_pydict(), said["other"]

    return join_them


def naive(left, right, on, dated):
    """The oracle: a dictionary from the key to the rows of the other table."""
    rows = {}
    for row in right.to_dict("records"):
        key = tuple(row[name] for name in on.values())
        if "" not in key:
            rows.setdefault(key, []).append(row)
    values = []
    for row in left.to_dict("records"):
        known = rows.get(tuple(row[name] for name in on), [])
        known = sorted((one for one in known if not dated or one["day"] < row["day_in"]), key=lambda one: one["day"])
        values.append(known[-1]["v"] if known else None)
    return values


def pair(rng, parts, *, dated):
    """Two small tables whose keys repeat on the left, and are unique on the right, alone or with their day."""
    n, m = rng.integers(1, 40), rng.integers(1, 30)
    left = pd.DataFrame({f"k{part}": rng.choice([*KEYS, ""], n) for part in range(parts)})
    right = pd.DataFrame({f"r{part}": rng.choice([*KEYS, ""], m) for part in range(parts)})
    days = pd.date_range("2024-01-01", periods=9).strftime("%Y-%m-%d").to_numpy()
    left["day_in"], right["day"] = rng.choice(days, n), rng.choice(days, m)
    right = right.drop_duplicates([*right.columns[:parts], *(["day"] if dated else [])])
    return left, right.assign(v=[f"v{i}" for i in range(len(right))])


@pytest.mark.slow
def test_500_pairs_of_tables_equal_a_dictionary_of_keys(joined):
    rng, hits = np.random.default_rng(0), 0
    for number in range(500):
        parts, dated = int(rng.integers(1, 4)), bool(rng.integers(0, 2))
        left, right = pair(rng, parts, dated=dated)
        on = {f"k{part}": f"r{part}" for part in range(parts)}
        expected = naive(left, right, on, dated)
        asked = {"on": on, "give": {"v": {"kind": "category"}}, "kind": ["csv", "parquet"][number % 2]}
        asked |= {"columns": {"day_in": {"kind": "date", "known": "admission"}}}
        asked |= {"latest_before": {"day_in": "day"}} if dated else {}
        if not any(expected):
            with pytest.raises(JoinRefused, match="expected some"):
                joined(left, right, **asked)
            continue
        cells, said = joined(left, right, **asked)
        hits += 1
        assert cells["v"] == expected, number
        assert {name: cells[name] for name in on} == left[list(on)].to_dict("list")  # neither rows nor order change
        keys = left[list(on)][(left[list(on)] != "").all(axis=1)]
        assert said["rows_matched"] == sum(value is not None for value in expected)
        assert (said["rows"], said["keys"]) == (len(left), len(keys.drop_duplicates()))
        assert said["rows_without_key"] == len(left) - len(keys)
    assert hits > 250


LEFT = pd.DataFrame({"house": ["010001", "010002", "010001", "010003"], "in": ["2024-03-01"] * 4})
RIGHT = pd.DataFrame({"id": ["010001", "010002", "010003"], "score": [70, 80, 90], "day": ["2024-01-31"] * 3})
GIVE = {"survey": {"from": "score", "kind": "number"}}
DATED = {"columns": {"in": {"kind": "date", "known": "admission"}}, "latest_before": {"in": "day"}}


@pytest.mark.parametrize(
    ("left", "right", "asked", "sentence"),
    [
        (LEFT, pd.concat([RIGHT, RIGHT[1:2]]), {}, r"1 rows of a key \(id\).* 2 and 4.*other\.latest_before"),
        (LEFT, pd.concat([RIGHT, RIGHT[1:2]]), DATED, r"1 rows of a key \(id and its date\)"),
        (LEFT.assign(house=[10001, 10002, 10001, 10003]), RIGHT, {}, "zeros before them, to 6 digits as there, 3 keys"),
        (LEFT, RIGHT.assign(id=[10001, 10002, 10003]), {}, "to 5 digits as there, 3 keys more"),
        (LEFT.assign(house=["", "?", "n/a", ""]), RIGHT, {}, "4 rows have no key, which matches nothing"),
        (LEFT, RIGHT.assign(day="2025-01-31"), DATED, "Of 4 rows the key is there.*the table of an earlier time"),
        (LEFT, RIGHT.assign(day="2024-03-01"), DATED, "of the day of the row or later"),
        (LEFT, RIGHT.assign(id=["St Mary", "Hope", "Lakeside"]), {}, r"crosswalk.*joins\.other\.on: \{<code>"),
        (LEFT, RIGHT[:1], {"least_match": 0.9}, "2 of 4 rows and 1 of 3 keys .* at least 90%.*least_match"),
        (LEFT.assign(survey=1), RIGHT, {}, "would add 'survey', and .*left.csv has such a column already"),
        (LEFT, RIGHT.drop(columns="score"), {}, r"no column 'score'"),
    ],
)  # fmt: skip
def test_bad_pairs_are_refused_with_the_sentence_that_mends_them(joined, left, right, asked, sentence):
    columns = dict.fromkeys(set(left) - {"survey"}, CATEGORY) | asked.get("columns", {})
    with pytest.raises((JoinRefused, ColumnProblem), match=sentence) as refused:
        joined(left, right, give=GIVE, on={"house": "id"}, **{**asked, "columns": columns})
    assert not any(key in str(refused.value) for key in ("01000", "10001", "Mary"))  # a key is nobody's business


def test_a_crosswalk_is_a_join_of_its_own(tmp_path):
    pd.DataFrame({"House": ["Hope", "St Mary"]}).to_csv(tmp_path / "left.csv", index=False)
    pd.DataFrame({"name": ["St Mary", "Hope"], "id": ["001", "002"]}).to_csv(tmp_path / "cross.csv", index=False)
    pd.DataFrame({"id": ["001", "002"], "score": [1, 2]}).to_csv(tmp_path / "right.csv", index=False)
    joins = {
        "crosswalk": {"source": str(tmp_path / "cross.csv"), "on": {"hospital": "name"},
                      "columns": {"code": {"from": "id", "kind": "identifier"}}},
        "survey": {"source": str(tmp_path / "right.csv"), "on": {"code": "id"}, "columns": GIVE},
    }  # fmt: skip
    admissions = hi_ml.read(table(tmp_path / "left.csv", {"hospital": {"from": "House", **CATEGORY}}, joins))
    assert admissions.table["survey"].tolist() == [2, 1]
    assert admissions.joins["survey"]["keys_matched"] == 2


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory, admissions_csv):
    """Admissions with a survey per hospital and deaths per name and day beside them; options to read them by."""
    folder = tmp_path_factory.mktemp("hospitals")
    cells = pd.read_csv(admissions_csv, dtype=str, keep_default_na=False)
    names = sorted(cells["Hospital"].unique())
    score = dict(zip(names, [61.5, 70.25, 74.0, 80.5, 88.0], strict=True))
    survey = pd.DataFrame({"Provider": names, "Base Score": [score[name] for name in names]})
    survey.to_csv(folder / "survey.csv", index=False)
    died = cells.drop_duplicates(["Name", "Date of Admission"])[::9][["Name", "Date of Admission"]]
    died.assign(Died="yes").to_parquet(folder / "deaths.parquet")
    cells.to_csv(folder / "admissions.csv", index=False)
    cells.assign(patient_survey=cells["Hospital"].map(score)).to_csv(folder / "whole.csv", index=False)
    survey = (
        f"survey: {{source: {folder}/survey.csv, on: {{hospital: Provider}}, known: admission, level: hospital, "
        "least_match: 0.9, columns: {patient_survey: {from: Base Score, kind: number, unit: points}}}"
    )
    deaths = (
        f"deaths: {{source: {folder}/deaths.parquet, on: {{patient_name: Name, admitted_on: Date of Admission}}, "
        "columns: {died: {from: Died, kind: category}}}"
    )
    words = ["dataset=kaggle", f"dataset.source={folder}/admissions.csv", f"+dataset.joins={{{survey}, {deaths}}}"]
    return folder, words


@pytest.fixture(scope="session")
def trained(hospitals, tmp_path_factory, called):
    """A model that predicts from the survey too."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["task=length_of_stay", "model=linear", "explain.rows=50", "tracking=none"]
    words += ["subgroups.roles=[sex,patient_survey]", "++subgroups.bands.patient_survey=[0,1]"]
    return called("train", folder, *hospitals[1], *words) / "length_of_stay"


@pytest.mark.slow
def test_a_run_names_every_source_and_join_with_its_digest(hospitals, trained):
    folder, _ = hospitals
    data = json.loads((trained / "data.json").read_text())
    assert [one["source"] for one in data["sources"]] == [str(folder / "admissions.csv")]
    assert data["sources"][0]["sha256"] == sha256(str(folder / "admissions.csv"))
    survey, deaths = data["joins"]["survey"], data["joins"]["deaths"]
    assert survey["files"] == [{"file": str(folder / "survey.csv"), "sha256": sha256(str(folder / "survey.csv"))}]
    assert (survey["level"], survey["rows_matched"], survey["keys_matched"]) == ("hospital", 300, 5)
    assert 30 < deaths["rows_matched"] < 60
    assert "patient_survey" in data["used"]
    assert data["refused"]["died"] == "known at after, after the horizon admission"
    assert "patient_survey belongs to the hospital: 5 of them" in (trained / "run.json").read_text()
    subgroups = pd.read_csv(trained / "subgroups.csv")
    assert set(subgroups.loc[subgroups["role"] == "patient_survey", "groups"]) == {5}
    assert subgroups.loc[subgroups["role"] == "sex", "groups"].min() > 20


def test_a_joined_column_is_served_from_the_same_file_or_as_a_column(hospitals, trained, inside, tmp_path):
    folder, words = hospitals
    model = f"model_uri={trained}"
    assert inside(predict.main, model, f"input={folder}/admissions.csv", "output=joined.csv").code == 0
    assert inside(predict.main, model, f"input={folder}/whole.csv", "output=whole.csv").code == 0
    joined, whole = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("joined", "whole"))
    pd.testing.assert_frame_equal(joined, whole)
    read = [(tmp_path / f"{name}.csv.manifest.json").read_text() for name in ("joined", "whole")]
    manifest, other = map(json.loads, read)
    assert manifest["joins"] == [
        {"join": "survey", "source": str(folder / "survey.csv"), "rows_matched": 300,
         "files": [{"file": str(folder / "survey.csv"), "sha256": sha256(str(folder / "survey.csv"))}]}
    ]  # fmt: skip
    assert other["joins"] == []
    frame = pd.read_csv(folder / "whole.csv")
    np.testing.assert_allclose(hi_ml.load_model(trained).scorer.predict(frame)["prediction"], joined["prediction"])
    assert "agree to the last digit" in inside(predict.main, "verify=joined.csv.manifest.json").stdout
    pd.read_csv(folder / "survey.csv").assign(**{"Base Score": 1}).to_csv(tmp_path / "new.csv", index=False)
    moved = [word.replace(f"{folder}/survey.csv", f"{tmp_path}/new.csv") for word in words]
    assert inside(predict.main, model, *moved, f"input={folder}/admissions.csv", "output=new.csv.parquet").code == 0
    assert (pd.read_parquet(tmp_path / "new.csv.parquet")["prediction"] != joined["prediction"]).any()
    (tmp_path / "new.csv").write_text("Provider,Base Score\nNowhere,1\n")
    ended = inside(predict.main, model, *moved, f"input={folder}/admissions.csv", "output=none.csv")
    assert (ended.code, "knows 0 of 300 rows" in ended.stderr) == (1, True), ended.stderr
    (tmp_path / "joined.csv").write_text("")
    assert inside(predict.main, "verify=joined.csv.manifest.json").code == 1


def test_private_keys_stay_in_the_reader(hospitals, trained):
    names = pd.read_parquet(hospitals[0] / "deaths.parquet")["Name"]
    texts = [path.read_text(errors="replace") for path in trained.rglob("*") if path.is_file()]
    assert not any(name in text for name in names for text in texts)


def test_a_joined_column_decides_neither_copies_nor_patients(hospitals):
    _, words = hospitals
    plain, joined = (compose("train", *some)["dataset"] for some in (words[:2], words))
    tables = [hi_ml.read(build(Dataset, node)) for node in (plain, joined)]
    assert "patient_survey" in tables[1].table
    groups = [table.group[np.argsort(table.row)] for table in tables]
    np.testing.assert_array_equal(*(pd.factorize(group)[0] for group in groups))
    assert tables[0].twins.differ == tables[1].twins.differ


def test_a_column_of_hospitals_counts_hospitals(hospitals):
    _, words = hospitals
    node = compose("train", *words)["dataset"]
    admissions = hi_ml.read(build(Dataset, node))
    by = ready(admissions, seed=0, keep_duplicates=False).by("patient_survey")
    assert (by.units, by.rows["unit of inference"].nunique()) == ("hospitals", 5)
    mine = {"claim": "It is so.", "kind": "trend", "of": "length_of_stay", "by": "patient_survey", "smallest_effect": 1}
    (finding,) = state(by, settings_of({"mine": mine}))
    assert "there are 5 units, and 10 are needed" in " ".join(finding.sentences)  # of 300 admissions


@pytest.mark.slow
def test_what_is_planted_beside_a_table_is_shown_by_train_and_findings(here, called, inside):
    assert inside(simulate.main, "output=admissions.csv", "rows=3000", "effect=4").code == 0
    quick = ["dataset=joined", "task=complication", "model=linear", "explain.rows=50"]
    folder = called("train", here / "trained", *quick) / "complication"
    assert json.loads((folder / "verdict.json").read_text())["verdict"] == "signal"
    ended = inside(findings.main, "dataset=joined", "finding=patient_survey")
    assert "  SUPPORTED\n" in ended.stdout
    assert "in 200 hospitals" in ended.stdout
    page = next((here / "outputs" / "findings").rglob("report.html")).read_text()
    assert "joined as survey, of the hospital" in page
    client = mlflow.MlflowClient(store_uri())
    run = client.get_run(next(iter(json.loads((folder / "tracked.json").read_text()).values()))["run_id"])
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["joined", "joined.survey", "joined.outcomes"]
    assert json.loads(run.inputs.dataset_inputs[1].dataset.source) == {"uri": "admissions.survey.csv"}
