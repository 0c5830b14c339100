from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hi_ml.app.config import build
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.subgroups import Subgroups, comparable, measure, obstacles, sentence
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import Baseline
from hi_ml.modeling.tasks import Task

STAY = Task("stay", "length_of_stay", "regression", "days", "admission", "mae")
RESULT = Task("result", "test_result", "classification", "label", "stay", "log_loss")
NODE = {
    "roles": ["sex", "age", "insurer"],
    "controls": ["blood_type"],
    "bands": {"age": [18, 40, 65]},
    "margins": {"days": 0.5, "nats": 0.02, "share": 0.03},
    "margin_otherwise": 0.05,
    "fewest": 100,
}
ASKED = build(Subgroups, NODE)
COLUMNS = [
    "role", "level", "score", "value", "low", "high", "difference", "difference_low", "difference_high", "p",
    "p_exploratory", "p_holm", "margin", "n", "groups", "verdict", "unit", "control",
]  # fmt: skip


def posed(target, *, task=STAY, group=None, twin=None, labels=(), units=None, **columns):
    """A problem whose rows are all in the test part."""
    n = len(target)
    table = pd.DataFrame({role: pd.Series(values) for role, values in columns.items()}, index=range(n))
    group = np.arange(n) if group is None else group
    return Problem(
        task=task, features=None, target=np.asarray(target, dtype=float), labels=list(labels), table=table,
        parts=np.full(n, 2, dtype=np.int8), row=np.arange(n), content=np.arange(n), group=group,
        twin=group if twin is None else twin, refused={}, units={"age": "years"} if units is None else units,
    )  # fmt: skip


def stays(n=3000, *, worse=0.0, seed=0, **columns):
    """Stays that are predicted as 0 days: errors of 2 days or so, larger by ``worse`` for women."""
    rng = np.random.default_rng(seed)
    sex = pd.Categorical(rng.choice(["Female", "Male"], n))
    errors = rng.gamma(4, 0.5, n) + worse * (sex == "Female")
    return posed(errors * rng.choice([-1, 1], n), sex=sex, **columns)


def compared(problem, asked=ASKED, *, predicted=None, median=0.0, covered=None, verdict="signal"):
    """Compare the levels of a run that predicts no days, or what is given."""
    predicted = np.zeros(len(problem.target)) if predicted is None else predicted
    classes = len(problem.labels)
    baseline = Baseline(median, median, np.full(classes, 1 / classes) if classes else np.array([]))
    conformal = None if covered is None else SimpleNamespace(description={}, covered=covered)
    results = {"intervals": conformal, "verdict": SimpleNamespace(verdict=verdict)}
    return measure(FittedRun(problem, None, None, predicted, baseline, results=results), asked)


def line(table, **where):
    (found,) = table[np.logical_and.reduce([table[key] == value for key, value in where.items()])].to_dict("records")
    return found


def test_a_planted_difference_is_found():
    female = line(compared(stays(worse=1.0)), level="Female", score="mae")
    assert female["verdict"] == "different"
    assert female["difference_low"] < 1 < female["difference_high"]
    assert (female["unit"], female["margin"]) == ("days", 0.5)


def test_levels_of_a_column_of_hospitals_are_compared_by_hospital():
    """Half of 40 hospitals have 90 points; errors are the hospital's. 4,000 patients know no more than 40 hospitals."""
    rng = np.random.default_rng(4)
    hospital = rng.integers(0, 40, 4000)
    points = np.where(hospital % 2, 90.0, 50.0)
    problem = posed(10 + rng.normal(0, 3, 40)[hospital] + rng.normal(0, 0.1, 4000), patient_survey=points)
    asked = replace(ASKED, roles=["patient_survey"], controls=[], bands={"patient_survey": [0, 60]})
    by_patient = line(compared(problem, asked), score="mae", level="60 and over")
    owned = replace(problem, owners={"patient_survey": hospital})
    by_hospital = line(compared(owned, asked), score="mae", level="60 and over")
    assert (by_patient["groups"], by_hospital["groups"]) == ((hospital % 2).sum(), 20)
    errors = problem.target  # all above 0
    expected = np.std([errors[hospital == number].mean() for number in range(1, 40, 2)], ddof=1) / 20**0.5
    half = (by_hospital["high"] - by_hospital["low"]) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 19) * expected, rel=0.1)  # of hospitals of nearly equal size
    assert by_hospital["value"] == by_patient["value"]
    assert by_hospital["verdict"] == "inconclusive"


def test_no_difference_is_called_none_that_matters():
    found = compared(stays(12_000))
    assert set(found["level"]) == {"Female", "Male"}
    assert set(found["verdict"]) == {"no difference that matters"}


def test_a_detectable_difference_below_the_margin_does_not_matter():
    female = line(compared(stays(20_000, worse=0.2)), level="Female", score="mae")
    assert female["p_holm"] < 0.001
    assert female["p_exploratory"] <= female["p_holm"]
    assert female["verdict"] == "no difference that matters"


def test_fewer_than_100_groups_are_always_inconclusive():
    for few in (99, 100):
        sex = pd.Categorical(np.where(np.arange(3000) < few, "Female", "Male"))
        target = np.where(np.arange(3000) < few, 9.0, 1.0) + np.random.default_rng(0).normal(0, 0.1, 3000)
        found = compared(posed(target, sex=sex))
        mae = found[found["score"] == "mae"]
        assert (mae["p_exploratory"] < 1e-6).all()
        assert mae["p_holm"].isna().all() == (few == 99)
        assert set(mae["verdict"]) == {"inconclusive" if few == 99 else "different"}  # the rest may be the small one


def test_copies_do_not_make_a_level_large():
    sex = pd.Categorical(np.where(np.arange(3000) < 600, "Female", "Male"))
    group = np.where(np.arange(3000) < 600, np.arange(3000) % 60, np.arange(3000))
    problem = posed(np.arange(3000) % 7 + 9.0 * (sex == "Female"), sex=sex, group=group)
    female = line(compared(problem), level="Female", score="mae")
    assert (female["n"], female["groups"], female["verdict"]) == (60, 60, "inconclusive")


def test_the_numbers_are_those_of_group_means():
    rng = np.random.default_rng(3)
    group = rng.integers(0, 700, 1500)
    sex = pd.Categorical(np.array(["Female", "Male"])[group % 2])
    problem = posed(rng.normal(size=1500), sex=sex, group=group)
    female = line(compared(problem), level="Female", score="mae")
    means = pd.Series(np.abs(problem.target)).groupby(group).mean()
    women, men = means[means.index % 2 == 0], means[means.index % 2 == 1]
    assert female["value"] == pytest.approx(women.mean())
    expected = stats.t(len(women) - 1, women.mean(), stats.sem(women)).interval(0.95)
    np.testing.assert_allclose([female["low"], female["high"]], expected)
    oracle = stats.ttest_ind(women, men, equal_var=False)
    assert female["p"] == pytest.approx(oracle.pvalue)
    np.testing.assert_allclose([female["difference_low"], female["difference_high"]], oracle.confidence_interval(0.95))
    assert (female["n"], female["groups"]) == (len(women), len(women))


def test_patients_who_come_again_count_each_admission_and_widen_the_interval():
    """Four admissions a patient: the mean over admissions, and the clustered variance written out."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(400), rng.integers(1, 8, 400))
    n = len(patient)
    sex = np.array(["Female", "Male"])[patient % 2]
    problem = posed(rng.normal(size=n) + rng.normal(size=400)[patient], sex=sex, group=patient, twin=np.arange(n))
    female = line(compared(problem), level="Female", score="mae")
    values, inside = np.abs(problem.target), sex == "Female"
    assert female["value"] == pytest.approx(values[inside].mean())
    assert female["difference"] == pytest.approx(values[inside].mean() - values[~inside].mean())
    variance = 0.0
    for side in (inside, ~inside):
        sums = pd.Series(values[side] - values[side].mean()).groupby(patient[side]).sum()
        variance += len(sums) / (len(sums) - 1) * (sums**2).sum() / side.sum() ** 2
    reach = (female["difference_high"] - female["difference_low"]) / 2
    assert reach == pytest.approx(1.966 * np.sqrt(variance), rel=0.002)  # t of some 390 degrees of freedom
    assert (female["n"], female["groups"]) == (inside.sum(), len(np.unique(patient[inside])))


def test_different_is_said_after_holm_over_all_roles_and_scores_where_mirror_images_count_once():
    rng = np.random.default_rng(0)
    insurer, blood = (pd.Categorical(rng.choice(list("abcde"), 3000)) for _ in range(2))
    found = compared(stays(worse=0.2, insurer=insurer, blood_type=blood))
    for _, part in found.groupby(["role", "score"]):
        adjusted = part["p"] if len(part) == 2 else multipletests(part["p"], method="holm")[1]
        np.testing.assert_allclose(part["p_exploratory"], adjusted)
    assert found[found["role"] == "sex"].groupby("score")["p"].agg(np.ptp).max() < 1e-12
    once = found[found["level"] != "Male"]
    assert len(once) == 2 * (1 + 5 + 5)
    np.testing.assert_allclose(once["p_holm"], multipletests(once["p"], method="holm")[1])
    men, women = (found[found["level"] == name]["p_holm"].to_numpy() for name in ("Male", "Female"))
    np.testing.assert_array_equal(men, women)
    assert found[found["control"]]["role"].unique().tolist() == ["blood_type"]


def test_of_two_labels_what_is_predicted_too_rarely_of_one_is_of_the_other_and_counts_once():
    rng = np.random.default_rng(0)
    insurer = pd.Categorical(rng.choice(list("abc"), 3000))
    problem = posed(rng.integers(0, 2, 3000), task=RESULT, labels=["x", "y"], insurer=insurer)
    share = rng.uniform(0.3, 0.7, 3000)
    found = compared(problem, predicted=np.column_stack([1 - share, share]))
    once = found[found["score"] != "observed_minus_predicted_x"]
    np.testing.assert_allclose(once["p_holm"], multipletests(once["p"], method="holm")[1])


@pytest.mark.parametrize(("events", "judged"), [(9, False), (10, True)])
def test_of_few_events_in_a_level_nothing_is_said(events, judged):
    sex = pd.Categorical(np.where(np.arange(3000) < 600, "Female", "Male"))
    truth = np.where(np.arange(3000) < 600, np.arange(3000) < events, np.arange(3000) % 2)
    found = compared(posed(truth, task=RESULT, labels=["no", "yes"], sex=sex), predicted=np.full((3000, 2), [0.5, 0.5]))
    seen = found[found["score"].str.startswith("observed")]
    assert set(seen["verdict"]) == {"different" if judged else "inconclusive"}
    assert seen["p_holm"].notna().all() == judged


def test_coverage_without_a_signal_is_not_judged():
    problem = stays(6000)
    covered = np.random.default_rng(0).random(6000) < np.where(problem.table["sex"] == "Female", 0.80, 0.95)
    for word in ("signal", "no_signal", "inconclusive"):
        found = compared(problem, covered=covered, verdict=word)
        told = set(found[found["score"] == "coverage"]["verdict"])
        assert told == ({"different"} if word == "signal" else {"not judged"})
        said = sentence(found)
        if word == "signal":
            assert "2 comparisons differ by what matters, of 6: sex Female (coverage lower by 14." in said
        else:
            assert "no group differs by what matters, in 2 comparisons; too few admissions to tell in 2 more." in said


def test_ages_come_in_bands_with_their_unit_and_missing_values_are_a_level():
    age = np.array([17.0, 18, 39, 40, 64, 65, 90, np.nan] * 100)
    found = compared(posed(np.random.default_rng(0).normal(size=800), age=age))
    mae = found[found["score"] == "mae"].set_index("level")["n"].to_dict()
    assert mae == {
        "under 18 years": 100, "18 to 39 years": 200, "40 to 64 years": 200, "65 years and over": 200, "missing": 100
    }  # fmt: skip
    sex = pd.Categorical(np.where(np.arange(800) < 300, None, "Female"), categories=["Female", "Male"])
    found = compared(posed(np.random.default_rng(0).normal(size=800), sex=sex))
    assert list(dict.fromkeys(found["level"])) == ["Female", "missing"]  # no test row is Male


def test_only_test_rows_are_looked_at():
    problem = stays()
    problem.parts[:1000] = 0
    problem.parts[1000:1500] = 1
    found = compared(problem, predicted=np.zeros(1500))
    assert found.groupby("score")["n"].sum().eq(1500).all()


def test_a_role_that_cannot_be_compared_is_left_out_with_its_reason():
    days = pd.date_range("2024-01-01", periods=3000)
    problem = stays(room=np.arange(3000.0), admitted_on=days, length_of_stay=np.arange(3000.0))
    asked = build(Subgroups, NODE | {"roles": ["sex", "race", "room", "admitted_on", "length_of_stay"], "controls": []})
    assert comparable(problem, asked) == ["sex"]
    assert obstacles(problem, asked) == {
        "race": "the table lacks it, or keeps it private",
        "room": "it is a number: set subgroups.bands.room",
        "admitted_on": "it is a date",
        "length_of_stay": "it is the target",
    }
    assert set(compared(problem, asked)["role"]) == {"sex"}


def test_nothing_asked_for_or_nothing_there_is_an_empty_table():
    for found in (compared(stays(), Subgroups()), compared(posed(np.arange(50.0)))):
        assert found.empty
        assert list(found) == COLUMNS


def test_the_control_comes_last_like_any_other_role():
    blood = pd.Categorical(np.random.default_rng(0).choice(["A+", "0-"], 3000))
    found = compared(stays(blood_type=blood))
    assert list(found) == COLUMNS
    assert list(dict.fromkeys(found["role"])) == ["sex", "blood_type"]


def test_the_share_above_shows_for_whom_predictions_are_too_low():
    rng = np.random.default_rng(0)
    sex = pd.Categorical(rng.choice(["Female", "Male"], 6000))
    problem = posed(rng.normal(0, 1, 6000) + 0.5 * (sex == "Female"), sex=sex)
    female = line(compared(problem), level="Female", score="share_above")
    assert female["value"] == pytest.approx(stats.norm.cdf(0.5), abs=0.03)
    assert (female["verdict"], female["unit"], female["margin"]) == ("different", "share", 0.03)


@pytest.mark.parametrize("whole", [True, False])
def test_targets_that_meet_their_predictions_set_no_group_apart(whole):
    """Half of all are billed nothing; among women it is predicted a hair below, among men a hair above or exactly."""
    rng = np.random.default_rng(1)
    sex = pd.Categorical(rng.choice(["Female", "Male"], 6000))
    target = np.maximum(rng.normal(0, 3, 6000), 0)
    problem = posed(np.rint(target) if whole else target, task=replace(STAY, whole=whole), sex=sex)
    for predicted in (np.where(sex == "Female", -1e-6, 1e-6), np.where(sex == "Female", 0.0, 0.1)):
        found = line(compared(problem, predicted=predicted), level="Female", score="share_above")
        assert found["verdict"] != "different"
        assert found["p"] > 1e-3
    low = line(compared(problem, predicted=np.where(sex == "Female", 0.0, 2.5)), level="Male", score="share_above")
    assert (low["verdict"], low["difference"] < 0) == ("different", True)  # men are told too much


def classes(n=8000, *, seed=0):
    """Three equally likely classes, predicted so; but among women the first is likelier by 15 points."""
    rng = np.random.default_rng(seed)
    sex = pd.Categorical(rng.choice(["Female", "Male"], n))
    right = np.where((sex == "Female")[:, None], [0.4833, 0.2833, 0.2334], [1 / 3, 1 / 3, 1 / 3])
    truth = (right.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return posed(truth, task=RESULT, labels=["x", "y", "z"], sex=sex)


def test_classes_are_compared_by_log_loss_and_by_what_was_predicted_too_rarely():
    found = compared(classes(), predicted=np.full((8000, 3), 1 / 3))
    names = ["log_loss", *(f"observed_minus_predicted_{label}" for label in "xyz")]
    assert list(dict.fromkeys(found["score"])) == names
    first = line(found, level="Female", score="observed_minus_predicted_x")
    assert first["value"] == pytest.approx(0.15, abs=0.03)
    assert first["verdict"] == "different"
    assert line(found, level="Female", score="log_loss")["unit"] == "nats"
    assert set(found[found["score"] == "log_loss"]["verdict"]) == {"inconclusive"}  # the same loss for every row


def test_coverage_is_compared_where_there_are_intervals():
    problem = stays(6000)
    covered = np.random.default_rng(0).random(6000) < np.where(problem.table["sex"] == "Female", 0.80, 0.95)
    female = line(compared(problem, covered=covered), level="Female", score="coverage")
    assert female["value"] == pytest.approx(0.8, abs=0.03)
    assert (female["verdict"], female["unit"]) == ("different", "share")
    assert "coverage" not in set(compared(problem)["score"])


def test_a_unit_without_a_margin_takes_a_share_of_the_baselines_loss():
    task = Task("bill", "billed", "regression", "currency", "admission", "mae")
    problem = posed(np.random.default_rng(0).normal(0, 1000, 500), task=task, sex=pd.Categorical(["a", "b"] * 250))
    assert line(compared(problem, median=12_000.0), level="a", score="mae")["margin"] == pytest.approx(600, rel=0.01)
    asked = build(Subgroups, NODE | {"margins": {"currency": 250}})
    assert line(compared(problem, asked), level="a", score="mae")["margin"] == 250


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": {"age": [40, 18]}},
        {"bands": {"age": []}},
        {"bands": {"age": [18, 18]}},
        {"margins": {"days": 0}},
        {"margin_otherwise": -1},
        {"fewest": 1},
        {"levels": []},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        build(Subgroups, NODE | wrong)


def test_levels_that_differ_are_named_up_to_five_and_a_control_first():
    def said(*verdicts, control=()):
        rows = [
            ("age", f"band {i}", "mae", verdict, i in control, -1.8 if i == 1 else 2.0, "days")
            for i, verdict in enumerate(verdicts)
        ]
        columns = ["role", "level", "score", "verdict", "control", "difference", "unit"]
        return sentence(pd.DataFrame(rows, columns=columns))

    same, unsure, other = "no difference that matters", "inconclusive", "different"
    assert said(unsure, same) == (
        "Subgroups: no group differs by what matters, in 1 comparison; too few admissions to tell in 1 more."
    )
    words = "Subgroups: 1 comparison differs by what matters, of 2: age band 1 (mean absolute error lower by 1.80 days)"
    assert said(unsure, other).startswith(words)
    assert said(*[other] * 7).endswith("age band 4 (mean absolute error higher by 2.00 days) and 2 more.")
    assert said(unsure, same, control=[1]) == said(unsure, same)
    assert said(other, other, control=[1]).startswith(
        "Subgroups: the control differs too (age band 1 (mean absolute error lower by 1.80 days)): do not trust the "
        "others; 2 comparisons differ by what matters, of 2"
    )
    assert said(unsure, unsure) == "Subgroups: too few admissions to tell for any of 2 comparisons."
    assert said() is None


@given(st.data())
def test_any_small_table_is_compared_without_a_crash(data):
    n = data.draw(st.integers(1, 12))
    target = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n))
    sex = data.draw(st.lists(st.sampled_from(["f", "m", None]), min_size=n, max_size=n))
    age = data.draw(st.lists(st.one_of(st.floats(0, 120), st.just(np.nan)), min_size=n, max_size=n))
    group = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    problem = posed(target, sex=pd.Categorical(sex, categories=["f", "m"]), age=np.array(age), group=group)
    found = compared(problem)
    assert set(found["verdict"]) <= {"inconclusive"}
    words = pd.Series(sex, dtype=object).fillna("missing")
    for row in found[found["role"] == "sex"].to_dict("records"):
        assert row["n"] == len(np.unique(problem.twin[words == row["level"]]))  # differing copies count in two levels
    assert set(found.loc[found["role"] == "sex", "level"]) in ({*words}, set())


def null_table(seed, *, labels, patients=None, n=1500):
    """A table in which no level differs: roles with rare levels and a control, rare labels, patients who come again."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) if patients is None else np.sort(rng.integers(0, patients, n))
    own = {
        "sex": rng.choice(["f", "m"], n), "insurer": rng.choice(list("abcde"), n, p=[0.5, 0.2, 0.15, 0.1, 0.05]),
        "blood_type": rng.choice(list("pqrstuvw"), n),
    }  # fmt: skip
    columns = {role: pd.Categorical(values[group]) for role, values in own.items()}  # a patient keeps his
    age = rng.uniform(10, 95, n)[group]
    if not labels:
        target = rng.gamma(2, 2, n) + rng.gamma(2, 1, n)[group]
        problem, predicted = posed(target, group=group, twin=np.arange(n), age=age, **columns), np.full(n, 4.5)
    else:
        share = 1 / labels if labels > 2 else 0.95
        right = np.array([share, *[(1 - share) / (labels - 1)] * (labels - 1)])
        truth = rng.choice(labels, n, p=right)
        names = [str(code) for code in range(labels)]
        problem = posed(truth, task=RESULT, labels=names, group=group, twin=np.arange(n), age=age, **columns)
        predicted = np.tile(right, (n, 1))
    return compared(problem, predicted=predicted, median=4.5, covered=rng.random(n) < 0.9)


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "patients"), [(0, None), (2, 600), (3, None)])
def test_in_a_table_without_differences_one_is_claimed_as_rarely_as_promised(labels, patients):
    """Any of all comparisons of a task, controls included, different in at most 5 % of tables, here of 40."""
    claimed = sum(
        "different" in set(null_table(seed, labels=labels, patients=patients)["verdict"]) for seed in range(40)
    )
    assert claimed <= stats.binom.ppf(0.999, 40, 0.05)
