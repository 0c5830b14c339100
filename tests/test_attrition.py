"""Rows left out by rule, the table that counts them, and targets of two classes made of what is declared."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

import hi_ml
from hi_ml.app.config import build, compose
from hi_ml.app.errors import ConfigurationInvalid, NotTrainable
from hi_ml.data.attrition import left_out_by, rules_of
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.evaluation import training
from hi_ml.evaluation.attrition import ALIKE, DIFFERENT, FEW, _say, table
from hi_ml.evaluation.intervals import measure
from hi_ml.modeling.features import Features
from hi_ml.modeling.problem import available, pose
from hi_ml.modeling.tasks import select
from hi_ml.train import TrainSettings

COLUMNS = {
    "patient_id": {"kind": "identifier", "private": True},
    "end": {"kind": "category", "levels": {1: "Home", 11: "Died", 13: "Hospice"}, "known": "discharge"},
    "days": {"kind": "number", "known": "discharge"},
    "day": {"kind": "date", "known": "admission"},
    "back": {"kind": "category", "known": "after"},
}


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    rng, n = np.random.default_rng(1), 600
    end = rng.choice(["1", "11", "13", ""], n, p=[0.7, 0.1, 0.1, 0.1])
    frame = pd.DataFrame(
        {
            "patient_id": rng.integers(0, 400, n),
            "end": end,
            "days": rng.integers(1, 15, n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "back": np.where((end != "11") & (rng.random(n) < 0.4), rng.choice(["<30", ">30"], n), "NO"),
        }
    )
    path = tmp_path_factory.mktemp("attrition") / "mine.csv"
    frame.to_csv(path, index=False)
    return path


def admissions_of(path, columns=COLUMNS, **keys):
    return read(build(Dataset, {"name": "m", "source": str(path), "columns": columns, **keys}), lambda _: path)


def posed(admissions, *words):
    settings = build(TrainSettings, compose("train", "task=readmission_30d", "model=linear", "tracking=none", *words))
    (task,) = settings.at_horizon()
    task = build(type(task), {**vars(task), "target": "back"}) if task.target == "readmitted" else task
    features = Features.of(admissions, select(task, available(admissions))[0])
    problem = pose(admissions, task, features=features, model=settings.model, split=settings.split, seed=0)
    return problem, settings.method()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"end": ["Died", 13]}, lambda f: ~f["end"].isin([11, 13])),
        ({"end": "11.0"}, lambda f: f["end"] != 11),
        ({"end": None}, lambda f: f["end"].notna()),
        ({"days": {"above": 12}}, lambda f: f["days"] <= 12),
        ({"days": [1, 2]}, lambda f: f["days"] > 2),
        ({"day": {"below": "2024-02-01"}}, lambda f: f["day"] >= "2024-02-01"),
        ({"end": ["Died"], "days": {"below": 5, "above": 2}}, lambda f: (f["end"] != 11) | ~f["days"].isin([3, 4])),
    ],
)
def test_a_rule_leaves_rows_out_by_word_code_number_or_date(csv, where, kept):
    admissions = admissions_of(csv, drop=[{"where": where, "why": "asked"}])
    assert admissions.row.tolist() == (np.flatnonzero(kept(pd.read_csv(csv))) + 1).tolist()
    assert len(admissions.table) + len(admissions.left_out.table) == 600
    assert admissions.provenance()["left_out"] == {"asked": 600 - len(admissions.row)}
    rules = json.loads(json.dumps(rules_of(admissions.dataset)))  # as a model carries them
    cells = {name: pa.array(cells) for name, cells in pd.read_csv(csv, dtype=str, keep_default_na=False).items()}
    why = left_out_by(rules, cells)
    assert (np.flatnonzero(why.is_null()) + 1).tolist() == admissions.row.tolist()
    assert set(why.drop_null().to_pylist()) == {"asked"}


def test_the_first_row_of_each_patient_is_by_date_and_where_there_is_none_by_the_file(csv):
    frame = pd.read_csv(csv)
    rules = {"drop": [{"where": {"end": "Died"}, "why": "died"}], "first_by": "patient_id"}
    alive = frame[frame["end"] != 11]
    by_file = admissions_of(csv, **rules)
    assert by_file.row.tolist() == (alive.drop_duplicates("patient_id").index + 1).tolist()
    dated = {**COLUMNS, "admitted_on": {"from": "day", "kind": "date", "known": "admission"}}
    dated.pop("day")
    by_date = admissions_of(csv, dated, **rules)
    first = alive.sort_values("day", kind="stable").drop_duplicates("patient_id")
    assert set(by_date.row) == set(first.index + 1)
    assert by_date.left_out.whys == ("died", "not the first row of its patient_id")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"drop": [{"where": {"ending": "Died"}, "why": "x"}]}, r"drop.where=ending is unknown.*patient_id, end, days"),
        ({"drop": [{"where": {"days": {"above": 0}}, "why": "all stayed"}]}, "leave no row: all stayed"),
        ({"drop": [{"where": {"days": ["long"]}, "why": "x"}]}, "drop.where.days is .*long"),
        (
            {"drop": [{"where": {"end": {"above": "x"}, "days": {"below": "soon"}}, "why": "x"}]},
            "Expected values of that",
        ),
        ({"first_by": "stay", "known": {"after": ["days"]}}, "first_by=stay is unknown"),
    ],
)
def test_a_rule_that_cannot_be_served_is_refused(csv, keys, said):
    with pytest.raises(ConfigurationInvalid, match=said):
        admissions_of(csv, **keys)


def test_first_by_needs_its_column(csv):
    with pytest.raises(ValidationError, match=r"set columns.number.from"):
        admissions_of(csv, first_by="number")


def test_the_attrition_table_counts_rows_and_patients_and_compares_the_target(csv):
    drop = [{"where": {"end": "Died"}, "why": "died"}, {"where": {"end": 13, "days": 3}, "why": "rare"}]
    admissions = admissions_of(csv, drop=drop, first_by="patient_id")
    problem, _ = posed(admissions)
    lines = table(replace(problem, smallest_cell=1)).set_index("step")
    frame = pd.read_csv(csv)
    died = frame["end"] == 11
    yes = frame["back"] == "<30"
    assert lines.loc["all that can be read", ["rows", "patients"]].tolist() == [600, frame["patient_id"].nunique()]
    assert lines.loc["all that can be read", "mean"] == pytest.approx(yes.mean())
    assert lines.loc["died", ["rows", "patients"]].tolist() == [died.sum(), frame[died]["patient_id"].nunique()]
    assert lines.loc["died", "mean"] == 0
    assert lines.loc["died", "mean_kept"] == pytest.approx(yes[~died].mean())
    assert lines["verdict"].tolist()[1:4] == [DIFFERENT, FEW, ALIKE]
    assert lines.loc["used", "rows"] == len(problem.target) == len(admissions.row)
    assert lines["rows"].iloc[1:4].sum() + lines.loc["used", "rows"] == 600


def test_without_rules_there_is_no_attrition_table(csv):
    assert table(posed(admissions_of(csv))[0]) is None


def test_what_is_positive_is_a_class_of_its_own(csv):
    problem, _ = posed(admissions_of(csv))
    assert problem.labels == ["no", "yes"]
    assert problem.target.sum() == (pd.read_csv(csv)["back"] == "<30").sum()
    by_code, _ = posed(
        admissions_of(csv), "tasks.readmission_30d.positive=[11,Hospice]", "tasks.readmission_30d.target=end"
    )
    assert by_code.target.sum() == pd.read_csv(csv)["end"].isin([11, 13]).sum()


def test_above_makes_long_stays_a_class(csv):
    words = [f"tasks.readmission_30d.{said}" for said in ("positive=[]", "target=days")]
    problem, _ = posed(admissions_of(csv), *words, "+tasks.readmission_30d.above=7")
    assert problem.target.sum() == (pd.read_csv(csv)["days"] > 7).sum()
    with pytest.raises(NotTrainable, match="categories where above needs numbers"):
        posed(admissions_of(csv), words[0], "+tasks.readmission_30d.above=7")


def test_a_positive_word_that_no_row_has_is_answered_with_those_that_are_there(csv):
    with pytest.raises(NotTrainable, match=r"names '<31', which no row has. The commonest of 3 levels are 'NO', "):
        posed(admissions_of(csv), "tasks.readmission_30d.positive=['<31']")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+tasks.length_of_stay.above=7", "set kind: classification"),
        ("+tasks.readmission_30d.above=7", "keep one of them"),
    ],
)
def test_a_task_is_of_one_kind(word, said):
    with pytest.raises(ValidationError, match=said):
        build(TrainSettings, compose("train", f"task={word.split('.')[1]}", word))


def test_a_score_too_good_to_be_true_stops_the_run_and_names_the_column(tmp_path):
    rng, n = np.random.default_rng(2), 800
    sick = rng.random(n) < 0.3
    frame = pd.DataFrame(
        {"age": rng.integers(20, 90, n), "days": rng.integers(1, 9, n), "letter": sick + rng.normal(0, 0.4, n)}
    )
    path = tmp_path / "leak.csv"
    frame.assign(back=np.where(sick, "<30", "NO")).to_csv(path, index=False)
    columns = {name: {"kind": "number", "known": "admission"} for name in ("age", "days", "letter")}
    problem, method = posed(admissions_of(path, {**columns, "back": COLUMNS["back"]}))
    run = training.fit(problem, method)
    with pytest.raises(NotTrainable, match=r"area under ROC is 0\.9.*'letter'.*dataset.columns.letter.known=after"):
        training.assess(run)


def test_a_prediction_above_a_top_code_is_right(tmp_path):
    rng, n = np.random.default_rng(3), 400
    age = rng.integers(20, 90, n)
    days = np.minimum(age + rng.integers(0, 3, n), 60)
    path = tmp_path / "top.csv"
    pd.DataFrame({"age": age, "days": np.where(days >= 60, "60 +", days.astype(str))}).to_csv(path, index=False)
    columns = {"age": {"kind": "number", "known": "admission"}, "length_of_stay": {"from": "days", "top": "60 +"}}
    overrides = ["~assessments.probes"]
    run = hi_ml.fit(admissions_of(path, columns), "length_of_stay", "linear", overrides=overrides)
    raw = run.fitted.predict(run.problem.features.frame[run.problem.where("test")])
    topped = run.target == 60
    assert (raw[topped] > 60).any()
    assert np.array_equal(run.predicted[topped], np.minimum(raw[topped], 60))
    assert np.array_equal(run.predicted[~topped], raw[~topped])
    intervals = measure(run, run.method.assessments["intervals"])
    low, high = (intervals.columns[end] for end in ("low", "high"))
    assert (low[topped] > 60).any()  # of 62 days and more, say: they may be the truth
    assert np.array_equal(intervals.covered, ((low <= run.target) | topped) & (run.target <= high))


def test_a_rule_that_leaves_out_a_few_patients_takes_the_means_with_it(csv, tmp_path):
    """All less used less the other steps would tell the mean of the few."""
    frame = pd.read_csv(csv)
    frame["end"] = frame["end"].astype(object)
    frame.loc[frame["patient_id"].isin(frame["patient_id"].unique()[:3]), "end"] = "rare"
    frame.to_csv(tmp_path / "few.csv", index=False)
    drop = [{"where": {"end": ["rare"]}, "why": "a few"}, {"where": {"end": ["Died"]}, "why": "died"}]
    problem, _ = posed(admissions_of(tmp_path / "few.csv", drop=drop))
    lines = table(problem)
    assert lines.set_index("step").loc["a few", "patients"] == 3
    assert lines["mean"].notna().tolist() == [False] * (len(lines) - 1) + [True]
    few, died, *_ = _say(lines)
    assert few.endswith("of fewer than 5 patients, a few.")
    assert "mean" not in died
