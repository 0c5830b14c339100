"""Hospitals left out in turn: what is refused, what a planted spread shows, who is not enough."""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

import hi_ml
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.evaluation.assessment import catalogue
from hi_ml.evaluation.holdout import ALL, FEW, Holdout, measure
from hi_ml.reports.train_charts import of_run


@pytest.fixture(scope="module")
def run():
    """A linear model of a table of six hospitals, one of them small."""
    admissions = hi_ml.read("simulated", rows=1500, hospitals=6)
    names = admissions.table["hospital"].cat.categories
    few = np.flatnonzero(admissions.table["hospital"] == names[0])[20:]
    table = admissions.table.copy()
    table.loc[few, "hospital"] = names[1]
    return hi_ml.fit(replace(admissions, table=table), "length_of_stay", "linear")


@pytest.fixture(scope="module")
def table(run):
    return measure(run, Holdout("hospital"))


def test_each_hospital_has_its_row_and_those_of_few_are_told_of_together(run, table):
    skills = table[table["measure"] == "skill"].set_index("level")
    assert len(skills) == 7
    assert skills.loc["1 of few", "groups"] <= 20
    told = skills.drop(index=["1 of few", ALL])
    assert (told["low"] < told["value"]).all()
    every = run.problem.units_of(run.problem.row > 0).admissions
    assert skills.loc[skills.index != ALL, "n"].sum() == pytest.approx(every, abs=5)  # a few copies went elsewhere
    assert set(table["measure"]) == {"skill", "intercept", "slope"}


def test_the_summary_is_that_of_random_effects_and_a_next_hospital_is_less_sure(table):
    told = table[(table["measure"] == "slope") & (table["level"] != ALL) & ~table["level"].str.endswith("few")]
    (one,) = table[(table["measure"] == "slope") & (table["level"] == ALL)].to_dict("records")
    errors = (told["high"] - told["low"]).to_numpy(float) / 2 / 1.97
    expected = combine_effects(told["value"].to_numpy(float), errors**2, method_re="iterated", use_t=True)
    assert one["value"] == pytest.approx(expected.mean_effect_re, rel=0.01)
    assert (one["low"], one["high"]) == pytest.approx(tuple(expected.conf_int()[3]), rel=0.05)
    assert one["next_low"] <= one["low"] < one["high"] <= one["next_high"]


def test_no_hospital_is_judged_by_a_model_that_saw_it_or_its_patients(run):
    seen = []

    class Spy:
        def fit(self, problem, rows):
            seen.append(rows)
            return run.method.fit(problem, rows)

        seed = run.method.seed

    measure(replace(run, method=Spy()), Holdout("hospital", fits=3))
    hospital, group = run.problem.table["hospital"].to_numpy(object), run.problem.group
    assert len(seen) == 3
    for rows in seen:
        held = ~np.isin(hospital, hospital[rows])
        assert held.any()
        assert not set(group[rows]) & set(group[held])


def test_a_column_without_levels_is_refused_with_those_that_have_some(run):
    check = catalogue()["holdout"].before
    with pytest.raises(ConfigurationInvalid, match=r"holdout_by=age is unknown.*hospital"):
        check(run.problem, run.method, Holdout("age"))
    alone = replace(run.problem, table=run.problem.table.assign(hospital="Mercy"))
    with pytest.raises(ConfigurationInvalid, match=r"a single one.*two or more: sex"):
        check(alone, run.method, Holdout("hospital"))


@pytest.mark.parametrize("by", ["age", "ward", "patient_name", "length_of_stay", ""])
def test_a_column_that_is_not_described_so_is_refused_before_a_table_is_read(called, tmp_path, by):
    words = ["dataset=kaggle", "dataset.source=absent.csv", "task=length_of_stay", "tracking=none"]
    with pytest.raises(ConfigurationInvalid, match=rf"holdout_by={by} is unknown.*one of sex, .*hospital"):
        called("train", tmp_path, *words, f"holdout_by={by}")


def test_hospitals_of_few_events_are_not_enough_and_nothing_is_summarised(run):
    table = measure(run, Holdout("blood_type", fewest=10_000))
    assert table["note"].tolist() != [FEW]
    assert ALL not in set(table["level"])
    assert "too few places" in catalogue()["holdout"].sentence(table)


def test_the_chart_and_the_metrics_are_of_the_skill(run, table, legible):
    drawn = {name: pair for name, *pair in of_run(replace(run, results={"holdout": table}), all_charts=False)}
    drawing, data = drawn["charts/holdout"]
    legible(drawing.draw())
    assert len(data) == 7
    metrics = catalogue()["holdout"].metrics(table)
    assert metrics["holdout_skill_low"] < metrics["holdout_skill"] < metrics["holdout_skill_high"]
