"""The beds of the next days: curves of remaining stay, arrivals, their sum, and how it is judged."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hi_ml import board
from hi_ml.data import simulation
from hi_ml.prediction.feed import backtest as replayed
from hi_ml.prediction.feed.backtest import Predicted, backtest, judge
from hi_ml.prediction.feed.census import NEVER, Now, Rates, Stays, forecast
from hi_ml.prediction.feed.laws import Arrivals, Law, hazards, staying, weekday
from hi_ml.prediction.feed.past import _known_by, days_of
from hi_ml.statistics.bootstrap import Difference
from hi_ml.statistics.counts import cumulative_hazards, moments


def stays_of(days=300, per_day=12, longest=12, *, seed=0, weekend=1.0):
    """People who leave with a chance that depends on the weekday alone; the last are still there."""
    rng = np.random.default_rng(seed)
    admitted = np.repeat(np.arange(days), rng.poisson(per_day, days))
    chance = np.where(weekday(np.arange(days + 200)) >= 5, weekend, 1.0) * 2.0 / longest
    left = np.full(len(admitted), NEVER)
    for day in range(1, days):
        there = (admitted < day) & (left == NEVER)
        left[there & (rng.random(len(admitted)) < chance[day])] = day
    return Stays(admitted, left)


# Who is there


def test_the_chance_to_stay_on_is_the_product_of_each_days_chance_from_the_days_that_have_passed():
    rng = np.random.default_rng(0)
    hazard, elapsed, factors = rng.random((4, 9)), np.array([0, 3, 8, 40]), np.array([1.0, 0.5, 2.0])
    chances = staying(hazard, elapsed, factors, before=0.25, today=2.0)
    for person, stayed in enumerate(elapsed):
        still = np.exp(-0.75 * 2.0 * hazard[person, min(stayed, 8)])
        for ahead, factor in enumerate(factors, start=1):
            still *= np.exp(-factor * hazard[person, min(stayed + ahead, 8)])
            assert chances[ahead - 1, person] == pytest.approx(still)
    np.testing.assert_array_equal(staying(hazard[0], elapsed, factors), staying(hazard[[0] * 4], elapsed, factors))


def test_an_interval_claims_a_curve_through_its_ends_that_never_rises():
    prediction, low, high = np.array([5.5, 9.5]), np.array([2.5, 9.5]), np.array([14.5, 9.5])
    curve = Law.claimed(0.9).survival(prediction, low, high, 40)
    assert (np.diff(curve, axis=1) <= 0).all()
    np.testing.assert_allclose(curve[0, [2, 5, 14]], [0.95, 0.5, 0.05], atol=1e-4)
    assert curve[1, 8] > 0.99
    assert curve[1, 10] < 0.01
    assert Law.claimed(0.9, from_floor=True).survival(prediction, low, high, 40)[0, 14] == pytest.approx(0.1, abs=1e-4)


def test_a_learned_law_counts_those_who_are_still_there():
    """With one prediction for all it is the curve of Kaplan and Meier."""
    rng = np.random.default_rng(1)
    stay, passed = rng.integers(1, 30, 4000), rng.integers(0, 40, 4000)
    over = stay <= passed
    same = [np.full(4000, value) for value in (12.0, 3.0, 25.0)]
    law = Law.of(np.where(over, stay, passed).astype(float), over, *same)
    curve = law.survival(*(value[:1] for value in same), 29)[0]
    expected = np.exp(-np.cumsum(cumulative_hazards(np.where(over, stay, passed), over, size=29)))
    np.testing.assert_allclose(curve, expected, atol=0.01)
    assert np.abs(1 - stats.ecdf(stay[over]).cdf.evaluate(np.arange(29)) - expected).max() > 0.05  # complete cases
    assert Law.of(stay[:50].astype(float), over[:50], *(value[:50] for value in same)) is None


def test_hardly_anyone_like_these_is_left_and_all_stays_speak():
    everyone = np.full(6, 0.2)
    curve = np.array([[1.0, 0.5, 0.01, 0.0, 0.0, 0.0]])
    found = hazards(curve, everyone)
    np.testing.assert_allclose(found, [[0.0, np.log(2), 0.2, 0.2, 0.2, 0.2]])


# Who will come


def test_arrivals_are_learned_by_weekday_with_what_their_days_share():
    rng = np.random.default_rng(0)
    days = np.arange(3000)
    rates = 20 * np.where(weekday(days) >= 5, 0.6, 1.16)
    for spread in (0.0, 0.1):
        factor = rng.gamma(1 / spread, spread, 3000) if spread else 1.0
        learned = Arrivals.of(days, rng.poisson(rates * factor))
        np.testing.assert_allclose(learned.mean, [23.2] * 5 + [12] * 2, rtol=0.05)
        assert learned.spread == pytest.approx(spread, abs=0.015)
    assert Arrivals.of(days[:0], days[:0]).mean.sum() == 0


# All


def test_hazards_of_weekdays_are_found_again():
    found = Rates.of(stays_of(365, per_day=40, weekend=0.4), 360).weekdays
    assert found[5:].mean() / found[:5].mean() == pytest.approx(0.4, abs=0.06)
    assert np.ptp(found[:5]) < 0.15


def test_a_forecast_counts_who_is_there_and_who_will_come():
    stays = stays_of()
    today, horizons = 280, 5
    rates = Rates.of(stays, today)
    there = stays.there(today)
    elapsed = today - stays.admitted[there]
    laws = forecast(rates, rates.hazard, elapsed, today=today, horizons=horizons)
    mean, variance = moments(laws)
    chances = staying(rates.hazard, elapsed, rates.of_days(today, horizons)[1:])
    new = [
        sum(
            rates.arrivals.mean[weekday(today + day)] * rates.still(today, horizons)[day, ahead]
            for day in range(1, ahead + 1)
        )
        for ahead in range(1, horizons + 1)
    ]
    np.testing.assert_allclose(mean, chances.sum(axis=1) + new, rtol=1e-6)
    assert (variance > (chances * (1 - chances)).sum(axis=1)).all()
    morning = forecast(rates, rates.hazard, elapsed, today=today, horizons=horizons, now=Now(gone=0.0, come=1.0))
    assert (moments(morning)[0] < mean).all()  # some may still leave today
    early = forecast(rates, rates.hazard, elapsed, today=today, horizons=horizons, now=Now(gone=1.0, come=0.5))
    assert (moments(early)[0] > mean).all()  # some may still come


def test_no_forecast_knows_what_came_after_it():
    stays = stays_of()
    predicted = constant(stays)
    future = Stays(stays.admitted, np.where(stays.left > 250, stays.left + 40, stays.left))
    now, later = (replayed.methods(each, predicted, 7) for each in (stays, future))
    for name in now:
        np.testing.assert_array_equal(now[name](250), later[name](250))


def constant(stays):
    same = [np.full(len(stays.admitted), value) for value in (5.0, 1.0, 18.0)]
    return Predicted(*same, new=stays.admitted > 100, claimed=Law.claimed(0.9))


@pytest.fixture(scope="module")
def replay():
    stays = stays_of(per_day=20, weekend=0.5)
    asked = {"cut": 180, "last": 298, "horizons": [1, 3, 7], "level": 0.9, "smallest_gain": 0.02}
    return backtest(stays, constant(stays), **asked), stays


def test_a_model_that_tells_nobody_apart_adds_nothing_to_counting(replay):
    result, stays = replay
    assert result.verdict == "counting suffices"
    assert result.sentence.startswith("counting suffices: the board with the model misses by ")
    whole = result.scores[result.scores["days"] == 0].set_index("method")
    assert whole.loc["counting", "crps"] < 0.9 * whole.loc["persistence", "crps"]
    assert whole.loc["counting", "crps"] < whole.loc["kaplan_meier", "crps"]  # which knows no weekend
    assert set(result.scores["days"]) == {0, 1, 3, 7}
    row = result.forecasts.iloc[7]
    assert row["observed"] == stays.census(int(row["origin"] + row["days"]))
    assert row["covered"] == (row["low"] <= row["observed"] <= row["high"])


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (-1.0, -1.5, -0.5, "model helps"),
        (-0.1, -0.15, -0.05, "counting suffices"),
        (-0.1, -1.0, 0.8, "inconclusive"),
        (-0.3, -0.9, -0.01, "model helps"),
        (0.5, 0.2, 0.8, "counting suffices"),
    ],
)
def test_a_verdict_weighs_the_model_against_the_best_way_to_count(value, low, high, verdict):
    whole = {"model": 10 + value, "counting": 10.0, "kaplan_meier": 12.0, "persistence": 15.0}
    table = pd.DataFrame({"method": list(whole), "days": 0, "crps": list(whole.values())})
    differences = {name: Difference(-9.0, -9.0, -9.0, 0.0) for name in whole} | {
        "counting": Difference(value, low, high, 0.5)
    }
    assert judge(table, differences, 0.02)[0] == verdict


# The command


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("feed") / "feed.hl7"
    simulation.write_stream(simulation.stream("hard", 6000, seed=2), path)
    return path.with_suffix(".csv")


@pytest.mark.slow
def test_the_board_is_judged_on_a_table_and_near_copies_take_no_bed(table, called, tmp_path):
    rows = pd.read_csv(table, dtype=str)
    rows["Room Number"] = np.arange(len(rows))  # no two are alike by chance
    copies = rows.sample(600, random_state=0)
    copies["Age"] = (copies["Age"].astype(int) + 1).astype(str)
    observed = {}
    for name, content in {"plain": rows, "copied": pd.concat([rows, copies])}.items():
        content.to_csv(tmp_path / f"{name}.csv", index=False)
        words = ["dataset=kaggle", f"dataset.source={tmp_path / name}.csv", "evaluate=true", "horizons=[1,7]"]
        folder = called("board", tmp_path / name, *words)
        observed[name] = pd.read_csv(folder / "forecasts.csv")["observed"]
        assert json.loads((folder / "verdict.json").read_text())["verdict"] in replayed.VERDICTS
        scores = pd.read_csv(folder / "scores.csv").set_index(["days", "method"])["crps"]
        assert scores[0, "model"] < scores[0, "persistence"]
    pd.testing.assert_series_equal(observed["plain"], observed["copied"])


def test_a_model_is_trained_on_cohorts_that_were_closed():
    """To keep the stays that are over, and not those of the same days that are not, would keep the short ones."""
    problem = simulated_problem()
    known = _known_by(problem, 18_600, extra=False)
    admitted = days_of(problem.table["admitted_on"])
    used = np.isin(known.parts, (0, 1))
    assert used.any()
    assert (admitted + problem.target)[used].max() <= 18_600
    last = admitted[used].max()
    over = admitted + problem.target <= 18_600
    assert (used | ~over)[admitted <= last].all()
    assert problem.target[used & (admitted > last - 20)].mean() > 13  # of 15.5 in all


def simulated_problem():
    from hi_ml.interface import pose, read  # noqa: PLC0415 -- a second that others need not pay

    return pose(read("simulated", rows=1500), "length_of_stay", "linear", split="temporal")


def test_what_cannot_be_replayed_is_said_in_a_sentence(inside):
    ended = inside(board.main, "dataset.rows=30", "evaluate=true")
    assert ended.code == 1
    assert ended.stderr.startswith("NotTrainable: ")
    ended = inside(board.main, "dataset.rows=300", "dataset.columns.admitted_on.from=null", "evaluate=true")
    assert "the table declares no 'admitted_on'" in ended.stderr
