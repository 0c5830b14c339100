"""Every role with every kind through findings, training and scoring: a result, or a sentence that names the key."""

import json

import numpy as np
import pandas as pd
import pytest

import hi_ml
from hi_ml.app.config import build
from hi_ml.app.errors import HiMlError
from hi_ml.data.read import read
from hi_ml.data.schema import _KINDS, ROLES, Dataset
from hi_ml.modeling.splits import PARTS
from hi_ml.prediction import package
from hi_ml.scorer.serving import Scorer

N = 240
KINDS = ["number", "category", "date", "identifier", "text"]
NATURAL = {
    "patient_id": "identifier", "patient_name": "text", "age": "number", "admitted_on": "date", "discharged_on": "date",
    "length_of_stay": "number", "doctor": "text", "billed": "number", "room": "number",
}  # fmt: skip
TASKS = {"length_of_stay": "length_of_stay", "billing": "billed", "test_results": "test_result"}
PERMUTED = ("billing_variation", "emergency_stay", "insurance_access", "medication_recovery")
QUICK = [*(f"findings.{name}.permutations=19" for name in PERMUTED), "findings.medication_recovery.resamples=19"]
FEW_TREES = ["~assessments.probes", *(f"model.{kind}.n_estimators=9" for kind in ("regression", "classification"))]
DECLARED = {"advanced_medications": ["Aa", "1"], "acute_conditions": ["Bb"], "severe_conditions": ["Cc", "2.0"]}


def cells(kind, rng, role):
    """Cells of a kind as a CSV holds them; no two columns have a name in common."""
    if kind == "number":
        return rng.integers(0, 9, N).astype(str)
    if kind == "category":
        return rng.choice(["Aa", "Bb", "Cc", "Emergency", ""], N)
    if kind == "date":
        return (pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 300, N), unit="D")).strftime("%Y-%m-%d")
    names = [f"{role.replace('_', '')}{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(150)]
    return np.array([f"id {i}" if kind == "identifier" else names[i] for i in rng.integers(0, 150, N)])


def admissions_of(path, kinds, private=frozenset()):
    """Read a table whose columns are of the given kinds."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({role: cells(kind, rng, role) for role, kind in kinds.items()})
    starts = pd.to_datetime(frame["admitted_on"])
    frame["discharged_on"] = (starts + pd.to_timedelta(rng.integers(0, 20, N), unit="D")).dt.strftime("%Y-%m-%d")
    frame.to_csv(path, index=False)
    columns = {role: {"kind": kind, "known": "admission", "private": role in private} for role, kind in kinds.items()}
    node = {"name": "m", "source": str(path), "columns": columns, **DECLARED}
    return frame, read(build(Dataset, node), lambda _: path)


def natural(**kinds):
    """The kinds of all roles: what they usually are, but for some."""
    return {role: NATURAL.get(role, "category") for role in ROLES} | kinds


def shifted(step):
    """Kinds of all roles, so that five steps give every role every kind that it may have."""
    return {role: _KINDS.get(role, KINDS[(index + step) % len(KINDS)]) for index, role in enumerate(ROLES)}


def scored(run, frame):
    """What the served model says of the raw rows of the test part, and what the run said of them."""
    problem = run.problem
    seen = problem.features.frame[problem.where("train")]
    described = package.mapping(problem.task, run.fitted, problem.features, labels=problem.labels, seen=seen)
    scorer = Scorer(json.loads(json.dumps(described)), run.fitted.pipeline)
    rows = frame.iloc[problem.row[problem.parts == PARTS.index("test")] - 1].reset_index(drop=True)
    answers = scorer.predict(rows)
    by_row = scorer.predict_row(rows.iloc[0].to_dict())
    assert by_row == {name: answers[name].tolist()[0] for name in answers}
    return answers[[name for name in answers if name.startswith("p_")] if problem.labels else "prediction"].to_numpy()


def names_a_key(said, role):
    """Whether a refusal says which key, or at least which column, is to blame."""
    return "tasks." in said or "columns." in said or f"'{role}'" in said


@pytest.mark.parametrize("step", [0, *(pytest.param(step, marks=pytest.mark.slow) for step in range(1, len(KINDS)))])
def test_any_mix_of_kinds_is_trained_scored_and_searched_for_findings(tmp_path, step):
    frame, admissions = admissions_of(tmp_path / "mine.csv", shifted(step))
    assert len(hi_ml.state_claims(admissions, overrides=QUICK)) == 5
    refused = []
    for task, target in TASKS.items():
        try:
            run = hi_ml.fit(admissions, task, overrides=["recalibrate=false", *FEW_TREES])
        except HiMlError as error:
            refused.append((str(error), target))
        else:
            assert np.array_equal(scored(run, frame), run.predicted)
    assert not [said for said, target in refused if not names_a_key(said, target)]


@pytest.mark.slow
@pytest.mark.parametrize("two", list(zip(ROLES[::2], ROLES[1::2], strict=True)))
def test_roles_of_any_kind_get_findings_or_reasons(tmp_path, two):
    for kind in KINDS:
        strange = {role for role in two if kind != NATURAL.get(role) and _KINDS.get(role, kind) == kind}
        if strange:
            private = strange if kind == "text" else ()
            _, admissions = admissions_of(tmp_path / "mine.csv", natural(**dict.fromkeys(strange, kind)), private)
            for finding in hi_ml.state_claims(admissions, overrides=QUICK):
                assert all(gap.words for gap in finding.gaps)


@pytest.mark.parametrize(
    ("kind", "words"), [("category", "age is a category"), ("date", "age is a date"), ("text", "age is a category")]
)
def test_an_age_that_is_no_number_is_answered_with_the_key(tmp_path, kind, words):
    _, admissions = admissions_of(tmp_path / "mine.csv", natural(age=kind))
    (finding,) = hi_ml.state_claims(admissions, "age_condition")
    assert finding.verdict == "not_testable"
    assert {(gap.words, gap.key) for gap in finding.gaps if gap.part == "hypertension"} == {
        (words, "columns.age.kind=number, with bands=true if it holds bands")
    }


def test_a_code_that_is_a_number_is_a_word_of_a_claim(tmp_path):
    _, admissions = admissions_of(tmp_path / "mine.csv", natural(medication="number"))
    (finding,) = hi_ml.state_claims(admissions, "medication_recovery")
    assert "NO_MAPPING" not in {gap.reason for gap in finding.gaps}


@pytest.mark.parametrize("typed", [False, True], ids=["CSV", "Parquet"])
def test_levels_groups_bands_top_codes_and_words_for_missing_are_served_as_they_were_learned(tmp_path, typed):
    rng = np.random.default_rng(4)
    bands = ["[0-10)", "[10-20)", "20-39", "40 or older", "?"]
    frame = pd.DataFrame(
        {
            "Alter": rng.choice(bands, N),
            "Art": rng.choice([1, 2, 3, 9], N),
            "diag": rng.choice(["250.83", "401", "V57", "E93", "8"], N),
            "score": rng.choice(["1", "2.5", "50 +", "-9", "-9.0"], N),
            "wert": rng.choice([1.0, 2.0, -9.0], N),
        }
    )
    frame["days"] = (frame["Alter"] == bands[3]) * 3 + frame["Art"] + rng.integers(0, 3, N)
    columns = {
        "age": {"from": "Alter", "bands": True, "known": "admission"},
        "admission_type": {"from": "Art", "levels": {1: "Notfall", 2: "Geplant", 9: None}, "known": "admission"},
        "diag": {"groups": "icd9_chapters", "known": "admission"},
        "score": {"top": "50 +", "missing": [-9], "known": "admission"},
        "wert": {"kind": "number", "missing": ["-9"], "known": "admission"},
        "length_of_stay": {"from": "days", "kind": "number"},
    }
    path = tmp_path / ("mine.parquet" if typed else "mine.csv")
    frame.to_parquet(path) if typed else frame.to_csv(path, index=False)
    admissions = read(build(Dataset, {"name": "m", "source": str(path), "columns": columns}), lambda _: path)
    run = hi_ml.fit(admissions, "length_of_stay", overrides=FEW_TREES)
    used = {"age", "admission_type", "diag", "diag_group", "score", "wert"}
    assert {spec["role"] for spec in run.problem.features.specs.values()} == used
    raw = frame if typed else pd.read_csv(path, dtype=str, keep_default_na=False)
    assert np.array_equal(scored(run, raw), run.predicted)
