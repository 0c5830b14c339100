from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import hi_ml
from hi_ml.app.config import build
from hi_ml.evaluation.usefulness import (
    ASSESSMENTS,
    AT_RISK,
    MIS_PLANNED,
    NET_BENEFIT,
    OVER_ALL,
    SAVED,
    curve,
    measure,
    sentence,
)
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.disclosure import Disclosure
from hi_ml.statistics.groups import Units

DEATH = Task("death", "death", "classification", "label", "admission", "log_loss", thresholds=[0.1, 0.25])
DAYS = Task("days", "days", "regression", "days", "admission", "mae", whole=True)


def run(task, target, predicted, *, group=None, constant=None, smallest=1):
    """What usefulness asks of a fitted run."""
    rows = np.arange(len(target))
    units = Units.of(rows, rows if group is None else group)
    labels = ["alive", "dead"] if task.kind == "classification" else []
    return SimpleNamespace(
        problem=SimpleNamespace(task=task, labels=labels),
        target=np.asarray(target),
        predicted=np.asarray(predicted),
        units=units,
        constant=lambda: np.full(len(target), constant),
        rule=Disclosure(units.unit, smallest),
        told_labels=dict(enumerate(labels)),
    )


def shares(dead):
    return np.column_stack([1 - dead, dead])


def drawn(n=4000, *, strength, seed=0):
    rng = np.random.default_rng(seed)
    logit = -2 + strength * rng.normal(size=n)
    probability = 1 / (1 + np.exp(-logit))
    return (rng.random(n) < probability).astype(float), probability


def of(table, name, label="dead"):
    return table[(table["measure"] == name) & (table["class"] == label)].set_index("threshold")


def test_a_threshold_at_which_a_few_patients_are_acted_on_has_no_value():
    """Six die, of whom four reach 25 %, where two of the living do; from 10 % on all six do, and six of the living."""
    target = np.array([1] * 6 + [0] * 20)
    dead = np.array([0.9] * 4 + [0.2] * 2 + [0.9] * 2 + [0.2] * 4 + [0.01] * 14)
    table = measure(run(DEATH, target, shares(dead), smallest=5))
    assert of(table, NET_BENEFIT)["value"].isna().to_dict() == {0.1: False, 0.25: True}
    assert of(table, OVER_ALL)["value"].isna().to_dict() == {0.1: False, 0.25: True}
    assert sentence(table).startswith("Net benefit: ")


def test_net_benefit_counts_hits_and_weighs_false_alarms():
    """By hand: of ten, two die; from 25 % on three are acted on, two of them rightly."""
    target = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    table = measure(run(DEATH, target, shares(np.array([0.9, 0.4, 0.3, 0.2, *[0.05] * 6]))))
    net, over = of(table, NET_BENEFIT), of(table, OVER_ALL)
    assert net.loc[0.25, "value"] == pytest.approx(100 * (2 / 10 - 1 / 10 * 0.25 / 0.75))
    assert net.loc[0.1, "value"] == pytest.approx(100 * (2 / 10 - 2 / 10 * 0.1 / 0.9))
    everyone = 100 * (2 / 10 - 8 / 10 * 0.25 / 0.75)
    assert over.loc[0.25, "value"] == pytest.approx(net.loc[0.25, "value"] - everyone)
    assert curve(table).query("`class` == 'dead'")["all"].iloc[1] == pytest.approx(everyone)
    assert net[["low", "high"]].isna().all(axis=None)  # two deaths tell no interval


def test_a_model_that_knows_is_better_than_acting_on_all_and_on_none():
    target, probability = drawn(strength=1.5)
    table = measure(run(DEATH, target, shares(probability)))
    for name in (NET_BENEFIT, OVER_ALL):
        assert (of(table, name)["low"] > 0).all()
    assert "dead at 10 %, 25 %" in sentence(table)


def test_a_model_that_knows_nothing_is_useful_nowhere():
    target, probability = drawn(strength=0.0)
    table = measure(run(DEATH, target, shares(probability)))
    assert "at no threshold" in sentence(table)


def test_intervals_of_net_benefit_cover():
    """The truth is that of many rows; the threshold is fixed, the model too."""
    target, probability = drawn(400_000, strength=1.0, seed=99)
    true = of(measure(run(DEATH, target, shares(probability))), OVER_ALL)["value"]
    held = []
    for seed in range(200):
        target, probability = drawn(600, strength=1.0, seed=seed)
        found = of(measure(run(DEATH, target, shares(probability))), OVER_ALL)
        held.append((found["low"] <= true) & (true <= found["high"]))
    assert 0.90 <= np.mean(held) <= 0.985


def test_patients_who_come_again_widen_the_interval():
    target, probability = drawn(500, strength=1.5)
    once = measure(run(DEATH, target, shares(probability)))
    four = measure(run(DEATH, np.tile(target, 4), shares(np.tile(probability, 4)), group=np.tile(np.arange(500), 4)))
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(four[end], once[end])


def test_bed_days_are_whole_and_compared_with_the_constant():
    stays, plans = np.array([2.0, 5.0, 9.0, 4.0]), np.array([2.4, 4.6, 6.0, 4.0])
    table = measure(run(DAYS, stays, plans, constant=4.0)).set_index("measure")
    assert table.loc[MIS_PLANNED, "value"] == pytest.approx(100 * 3 / 4)  # 0, 0, 3, 0
    assert table.loc[SAVED, "value"] == pytest.approx(100 * (2 + 1 + 5 + 0 - 3) / 4)
    assert table.loc[SAVED, "unit"] == "whole bed-days per 100 admissions"
    assert ASSESSMENTS[0].brief(table.reset_index()) == (
        "Bed-days planned wrongly per 100 admissions, in plans of whole days: 75.0, 125 fewer than with one guess for "
        "everybody, which chance may make."
    )
    half = measure(run(replace(DAYS, whole=False), stays, plans, constant=4.0)).set_index("measure")
    assert half.loc[MIS_PLANNED, "value"] == pytest.approx(100 * (0.4 + 0.4 + 3) / 4)
    assert sentence(table.reset_index()).startswith(
        "Bed-days planned wrongly per 100 admissions, in plans of whole days: 75"
    )


def test_a_task_without_thresholds_or_days_is_not_asked():
    target, probability = drawn(200, strength=1.0)
    assert measure(run(replace(DEATH, thresholds=[]), target, shares(probability))) is None
    assert measure(run(replace(DAYS, unit="points"), target, probability, constant=0.0)) is None


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValidationError):
        build(dict[str, Task], {"a": {**vars(DEATH), "thresholds": [threshold]}})


def test_a_run_tells_its_usefulness():
    fitted = hi_ml.fit(hi_ml.read("simulated", rows=900), "length_of_stay", "linear")
    table = hi_ml.assess(fitted, "usefulness")["usefulness"]
    assert isinstance(table, pd.DataFrame)
    assert table["n"].eq(fitted.units.admissions).all()


def test_of_bills_the_sum_beyond_the_plans_is_at_risk():
    bills = Task("billing", "billed", "regression", "EUR", "admission", "mae")
    table = measure(run(bills, [100.0, 300.0], np.array([150.0, 200.0]), constant=200.0)).set_index("measure")
    assert table["value"].to_dict() == {MIS_PLANNED: 7_500, SAVED: 2_500, AT_RISK: 5_000}
    assert set(table["unit"]) == {"EUR per 100 admissions"}
    assert "At risk, billed beyond the plans: 5,000" in sentence(table.reset_index())
