"""Does a model of patients foretell the beds better than counting does? Replayed in the order of time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.text import signed_interval
from hi_ml.prediction.feed.census import Days, Rates, Stays, forecast
from hi_ml.prediction.feed.laws import WEEK, Arrivals, Law, hazards
from hi_ml.statistics.bootstrap import Difference, mean_difference
from hi_ml.statistics.counts import crps, moments, quantile, widen
from hi_ml.statistics.estimates import Floats

_LEARNED_FROM = 182  # days of past origins whose errors are looked at
_EVERY, _MOST = 3, 160  # days between origins at least, each weekday in turn; origins at most, about
_BEGINNING = 60  # days after the first admission on which a table is not yet a hospital
_PAST = 365  # days of the census from which the errors of simple rules are learned
_FEWEST = 8  # past errors, from which on they are learned from
MODEL, COUNTING = "model", "counting"
"""The board with a model of patients, and the same board that takes all stays alike."""
VERDICTS = ("model helps", "counting suffices", "inconclusive")
KAPLAN_MEIER, PERSISTENCE, LAST_WEEK, EXPECTED = "kaplan_meier", "persistence", "last_week", "expected_stay"


@dataclass(frozen=True)
class Predicted:
    """What a model says of each stay when it begins, in days."""

    prediction: Floats  # float64, shape (n,)
    low: Floats
    high: Floats
    new: NDArray[np.bool_]  # shape (n,); whether the model was not trained on it: by these its law is learned
    claimed: Law  # of stays around such predictions, as long as too few of the new ones are over

    def law(self, stays: Stays, today: int) -> Law:
        """Learn, from what is known at the end of a day, how stays lie around their predictions."""
        rows = self.new & (stays.admitted <= today) & (stays.admitted > today - _PAST)
        admitted, over = stays.admitted[rows], stays.left[rows] <= today
        stay = np.where(over, stays.left[rows], today) - admitted
        own = Law.of(stay.astype(float), over, self.prediction[rows], self.low[rows], self.high[rows])
        return own or self.claimed


@dataclass(frozen=True)
class Backtest:
    """What came of every forecast."""

    # one row a method, origin and horizon: `method, origin, days, mean, low, high, observed, crps, covered`
    forecasts: pd.DataFrame
    scores: pd.DataFrame  # per method and horizon, and over all (days 0): see `score`
    verdict: str  # model helps, counting suffices, inconclusive
    sentence: str
    differences: dict[str, Difference]  # of the model's CRPS less that of each other method, blocked by week


def backtest(
    stays: Stays,
    predicted: Predicted,
    *,
    cut: int,
    last: int,
    horizons: Sequence[int],
    level: float,
    smallest_gain: float,
) -> Backtest:
    """Replay forecasts from a day on, each from what was known at the end of its origin.

    Parameters
    ----------
    stays : Stays
    predicted : Predicted
        Of the same admissions, by a model that saw nothing after the cut.
    cut, last : int
        The first origin, and the last day whose census is whole; days from 1970-01-01.
    horizons : sequence of int
        Days ahead.
    level : float
        With which probability the intervals hold the census.
    smallest_gain : float
        Share of the CRPS of counting, that a model has to save to be worth having.
    """
    most = max(horizons)
    step = next(days for days in count(_EVERY) if days % WEEK and days * _MOST >= last - most - cut)
    past = np.arange(max(stays.first + _BEGINNING, cut - _LEARNED_FROM), cut, step)
    origins = np.concatenate([past, np.arange(cut, last - most + 1, step)])
    first = min(int(origins[0]), cut) - _PAST
    observed = dict(zip(range(first, last + 1), stays.censuses(first, last).tolist(), strict=True))
    parts = []
    for name, method in methods(stays, predicted, most).items():
        laws = {int(origin): method(int(origin)) for origin in origins}
        laws = _spread(laws, observed, most) if name in (MODEL, COUNTING) else laws
        for origin in origins[len(past) :]:
            truth = np.array([observed[origin + days] for days in range(1, most + 1)])
            parts.append(_rows(name, int(origin), laws[int(origin)], truth, level))
    forecasts = pd.concat(parts, ignore_index=True)
    forecasts = forecasts[forecasts["days"].isin(horizons)].reset_index(drop=True)
    scale = np.mean(np.abs(np.diff([observed[day] for day in range(max(stays.first, cut - _PAST), cut)])))
    differences = _differences(forecasts)
    table = score(forecasts, float(scale))
    verdict, sentence = judge(table, differences, smallest_gain)
    return Backtest(forecasts, table, verdict, sentence, differences)


Method = Callable[[int], Floats]  # of the distributions at an origin, shape (horizons, size)


def methods(stays: Stays, predicted: Predicted, horizons: int) -> dict[str, Method]:
    """Return, by name, what gives the distributions at an origin, shape (horizons, size)."""

    def counted(origin: int) -> tuple[Rates, np.ndarray, Days]:
        there = stays.there(origin)
        return Rates.of(stays, origin), there, origin - stays.admitted[there]

    def model(origin: int) -> Floats:
        rates, there, elapsed = counted(origin)
        amounts = predicted.prediction[there], predicted.low[there], predicted.high[there]
        own = hazards(predicted.law(stays, origin).survival(*amounts, len(rates.hazard)), rates.hazard)
        return forecast(rates, own, elapsed, today=origin, horizons=horizons)

    def counting(origin: int) -> Floats:
        known, _, elapsed = counted(origin)
        return forecast(known, known.hazard, elapsed, today=origin, horizons=horizons)

    def kaplan_meier(origin: int) -> Floats:
        known, _, elapsed = counted(origin)
        level = Arrivals(np.full(WEEK, known.arrivals.mean.mean()), 0.0)
        return forecast(
            Rates(known.hazard, np.ones(WEEK), level), known.hazard, elapsed, today=origin, horizons=horizons
        )

    def persistence(day: int) -> Floats:
        return np.full(horizons, float(stays.census(day)))

    def last_week(day: int) -> Floats:
        return np.full(horizons, stays.censuses(day - WEEK + 1, day).mean())

    def expected_stay(day: int) -> Floats:
        there, ahead = stays.there(day), np.arange(1, horizons + 1)
        ends = np.maximum(stays.admitted[there] + np.rint(predicted.prediction[there]), day + 1)
        recent = (stays.admitted > day - _PAST) & (stays.admitted <= day)
        come = recent.sum() / min(_PAST, day - stays.first + 1)
        new = come * np.array([np.sum(np.mean(predicted.prediction[recent]) > np.arange(days)) for days in ahead])
        return np.asarray((ends > day + ahead[:, None]).sum(axis=1) + new)

    def with_errors(rule: Callable[[int], Floats]) -> Method:
        return partial(_empirical, cache(rule), stays, horizons=horizons)

    return {
        MODEL: model,
        COUNTING: counting,
        KAPLAN_MEIER: kaplan_meier,
        EXPECTED: with_errors(expected_stay),
        PERSISTENCE: with_errors(persistence),
        LAST_WEEK: with_errors(last_week),
    }


def _empirical(rule: Callable[[int], Floats], stays: Stays, origin: int, *, horizons: int) -> Floats:
    """A number for each next day with the errors that the same rule made before."""
    first = max(stays.first + WEEK, origin - _PAST)
    now, days = rule(origin), np.arange(first, origin, _EVERY)
    census = dict(zip(range(first, origin + 1), stays.censuses(first, origin), strict=True))
    guesses = {int(day): rule(int(day)) for day in days}
    laws = []
    for ahead in range(1, horizons + 1):
        errors = [census[day + ahead] - guess[ahead - 1] for day, guess in guesses.items() if day + ahead <= origin]
        at = np.maximum(0, np.rint(now[ahead - 1] + np.array([*errors, *([] if errors else [0.0])]))).astype(int)
        laws.append(np.bincount(at) / len(at))
    size = max(map(len, laws))
    return np.array([np.pad(law, (0, size - len(law))) for law in laws])


def _spread(laws: Mapping[int, Floats], observed: Mapping[int, int], horizons: int) -> dict[int, Floats]:
    """Widen each forecast by what the errors of those before it, known at its origin, exceed their own variance by."""
    ends = {origin: moments(law) for origin, law in laws.items()}
    wide = {}
    for origin, law in laws.items():
        extra = _excess(ends, observed, origin, horizons)
        parts = [widen(law[ahead], float(extra[ahead])) for ahead in range(horizons)]
        size = max(map(len, parts))
        wide[origin] = np.array([np.pad(part, (0, size - len(part))) for part in parts])
    return wide


def _excess(
    ends: Mapping[int, tuple[Floats, Floats]], observed: Mapping[int, int], origin: int, horizons: int
) -> Floats:
    """By how much squared errors known at an origin exceed the variance that was foretold, shape (horizons,)."""
    extra = np.zeros(horizons)
    for ahead in range(horizons):
        before = [day for day in ends if origin - _LEARNED_FROM <= day <= origin - ahead - 1]
        errors = [(observed[day + ahead + 1] - ends[day][0][ahead]) ** 2 - ends[day][1][ahead] for day in before]
        extra[ahead] = np.mean(errors) if len(errors) >= _FEWEST else 0.0
    return extra


def extra_variance(method: Method, stays: Stays, today: int, horizons: int) -> Floats:
    """Return the variance that forecasts of a method have lacked so far, in beds squared, shape (horizons,).

    Parameters
    ----------
    today : int
        The censuses of the days before are known.
    """
    first = max(stays.first + _BEGINNING, today - _LEARNED_FROM)
    origins = range(first, today - 1, _EVERY)
    ends = {origin: moments(method(origin)) for origin in origins}
    observed = dict(zip(range(first, today), stays.censuses(first, today - 1).tolist(), strict=True))
    return _excess(ends, observed, today - 1, horizons)


def _rows(name: str, origin: int, laws: Floats, truth: Days, level: float) -> pd.DataFrame:
    low, high = (quantile(laws, share) for share in ((1 - level) / 2, (1 + level) / 2))
    return pd.DataFrame(
        {
            "method": name,
            "origin": origin,
            "days": np.arange(1, len(truth) + 1),
            "mean": moments(laws)[0],
            "low": low,
            "high": high,
            "observed": truth,
            "crps": crps(laws, truth),
            "covered": (low <= truth) & (truth <= high),
        }
    )


def score(forecasts: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Score the methods by horizon, and over all horizons, which stand under 0 days.

    Parameters
    ----------
    scale : float
        Mean change of the census from one day to the next before the cut, in beds.

    Returns
    -------
    DataFrame
        `method, days, crps, coverage, mase, bias, width, origins`.
    """
    errors = forecasts.assign(
        bias=forecasts["mean"] - forecasts["observed"],
        mase=(forecasts["mean"] - forecasts["observed"]).abs() / scale,
        width=forecasts["high"] - forecasts["low"],
        coverage=forecasts["covered"].astype(float),
    )
    names = ["crps", "coverage", "mase", "bias", "width"]
    whole = errors.assign(days=0)
    grouped = pd.concat([whole, errors]).groupby(["method", "days"], sort=False)
    table = grouped[names].mean().assign(origins=grouped["origin"].nunique()).reset_index()
    return table.sort_values(["days", "crps"], kind="stable", ignore_index=True)


def _differences(forecasts: pd.DataFrame) -> dict[str, Difference]:
    """The model's CRPS less that of each other method: means over the weeks of the origins."""
    weeks = forecasts.assign(week=(forecasts["origin"] + 3) // WEEK)
    table = weeks.pivot_table(index="week", columns="method", values="crps", aggfunc="sum")
    votes = np.asarray(weeks[weeks["method"] == MODEL].groupby("week").size(), dtype=np.float64)
    others = [name for name in forecasts["method"].unique() if name != MODEL]
    mine = table[MODEL].to_numpy()
    return {name: mean_difference(mine, table[name].to_numpy(), votes=votes) for name in others}


def judge(table: pd.DataFrame, differences: Mapping[str, Difference], smallest_gain: float) -> tuple[str, str]:
    """Say whether the model adds anything that matters to the best way to count without one, with its reason."""
    whole = table[table["days"] == 0].set_index("method")["crps"]
    plain = [name for name in (COUNTING, KAPLAN_MEIER, PERSISTENCE, LAST_WEEK) if name in whole]
    best = str(whole[plain].idxmin())
    gap, margin = differences[best], smallest_gain * float(whole[best])
    if gap.high < 0 and gap.value <= -margin:
        verdict = VERDICTS[0]
    else:
        verdict = VERDICTS[1] if gap.low > -margin else VERDICTS[2]
    difference, interval = signed_interval(gap.value, gap.low, gap.high)
    words = (
        f"{verdict}: the board with the model misses by {whole[MODEL]:.2f} beds (CRPS), {best.replace('_', ' ')} by "
        f"{whole[best]:.2f}; difference {difference} (95 % interval {interval}), of which {margin:.2f} would matter."
    )
    return verdict, words
