"""Do intervals still hold what they promise, and do people stay as long as they used to?

Coverage is counted by the week of admission, once the longest interval of that week has passed: of those discharged so
far the short stays are too many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from hi_ml.app.text import percent
from hi_ml.prediction.feed.arrivals import WEEK, weekday
from hi_ml.prediction.feed.census import Days, Rates, Stays
from hi_ml.statistics.estimates import Floats

_WEEKS = 9  # closed cohorts that coverage is told of
_FEWEST = 30  # stays in them
_STEP = 0.3  # of the level, per week and share of misses too many
_SPAN = (0.005, 0.5)  # shares outside that an interval may aim at
_WINDOW = 14  # days in which stays are compared with those before
_REFERENCE = 365  # days before, from which it is learned how long people stay, and how much such windows vary
_LEAST = 120  # days of them
_LIMIT = 4.0  # standard deviations: less than one false alarm a year, also where days move all together


@dataclass(frozen=True)
class Alarm:
    """What should be looked at."""

    name: str
    sentence: str


def closed_weeks(admitted: Days, high: Floats, today: int) -> Days:
    """Return the weeks, by the day of their first admission, whose longest interval has passed at the end of a day."""
    week = admitted - weekday(admitted)
    ends = np.ceil(admitted + high)
    return np.array([first for first in np.unique(week) if first + WEEK <= today and ends[week == first].max() < today])


def misses_by_week(stays: Stays, low: Floats, high: Floats, today: int) -> tuple[Floats, Days]:
    """Return the share of intervals that missed, and the number of stays, of each closed week in order.

    Who is still there has stayed longer than the interval says.
    """
    stay = np.minimum(stays.left, today + 1) - stays.admitted
    missed = (stay < low) | (stay > high)
    week = stays.admitted - weekday(stays.admitted)
    weeks = closed_weeks(stays.admitted, high, today)
    of_week = [missed[week == first] for first in weeks]
    return np.array([each.mean() for each in of_week]), np.array([len(each) for each in of_week], dtype=np.int64)


def tell_coverage(misses: Floats, counts: Days, level: float) -> tuple[str, Alarm | None]:
    """Say how many of the last intervals held, and raise an alarm where they hold too few."""
    misses, counts = misses[-_WEEKS:], counts[-_WEEKS:]
    n = int(counts.sum())
    if n < _FEWEST:
        return "not yet known: no week of admissions is over whose intervals have all passed", None
    held = n - round(float(misses @ counts))
    low, high = proportion_confint(held, n, method="wilson")
    sentence = (
        f"{percent(held / n)} % of {n:,} stays lay in their {percent(level)} % interval (95 % interval "
        f"{percent(low)} to {percent(high)}), by week of admission"
    )
    return sentence, Alarm("coverage", f"Intervals hold too few stays: {sentence}.") if high < level else None


def adapted_level(level: float, misses: Sequence[float] | Floats) -> float:
    """Return the level to aim at, so that intervals hold as many as they promise.

    After each closed week it moves against the share of misses beyond the promise (adaptive conformal inference:
    Gibbs and Candes 2021, arXiv:2106.00170).

    Examples
    --------
    >>> adapted_level(0.9, []), round(adapted_level(0.9, [0.2, 0.1]), 3)
    (0.9, 0.93)
    """
    outside = 1 - level
    for missed in misses:
        outside = float(np.clip(outside + _STEP * ((1 - level) - missed), *_SPAN))
    return 1 - outside


def watch_stays(stays: Stays, today: int) -> Alarm | None:
    """Tell whether people leave later, or sooner, than they did in the year before the last two weeks.

    Discharges are compared with what the hazards and weekdays of that year expect of who was there: of all, and of
    those who came in these two weeks, who show first what is new. How much such counts vary, earlier windows tell.
    """
    before = today - _WINDOW
    first = max(stays.first, before - _REFERENCE + 1)
    if before - first < _LEAST:
        return None
    rates = Rates.of(stays, before)
    if not rates.hazard.any():
        return None
    ends = np.arange(today, first + _WINDOW, -_WINDOW)[::-1]
    left, expected = _discharges(stays, rates, first, today)
    whole = _windows(left, ends - first), _windows(expected, ends - first)
    new = np.array([_of_new(stays, rates, int(end)) for end in ends]).T
    for seen, due in (whole, (new[0], new[1])):
        score = _score(seen, due)
        if abs(score) > _LIMIT:
            how = "longer" if score < 0 else "shorter"
            return Alarm(
                "stays",
                f"Stays have become {how}: in {_WINDOW} days {seen[-1]:.0f} discharges where {due[-1]:.0f} were to be "
                f"expected. Look for what has changed; train anew before trusting the scores.",
            )
    return None


def _score(seen: Floats, expected: Floats) -> float:
    """The last window's deviation in standard deviations, as those before it varied; Poisson at least."""
    ratio = (seen[:-1] - expected[:-1]) ** 2 / np.maximum(expected[:-1], 1.0)
    spread = max(1.0, float(ratio.mean())) if len(ratio) else 1.0
    return float((seen[-1] - expected[-1]) / np.sqrt(spread * max(1.0, float(expected[-1]))))


def _windows(of_days: Floats, ends: Days) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(of_days)])
    return np.asarray(total[ends + 1] - total[ends + 1 - _WINDOW])


def _discharges(stays: Stays, rates: Rates, first: int, last: int) -> tuple[Floats, Floats]:
    """Count who left on each day, and who was expected to, shape (days,)."""
    near = (stays.admitted <= last) & (stays.left >= first)
    admitted, left = stays.admitted[near], stays.left[near]
    chances = -np.expm1(-rates.weekdays[:, None] * rates.hazard)
    days = np.arange(first, last + 1)
    seen = np.array([(left == day).sum() for day in days], dtype=float)
    expected = np.zeros(len(days))
    for i, day in enumerate(days):
        stayed = np.minimum(day - admitted[(admitted <= day) & (day <= left)], chances.shape[1] - 1)
        expected[i] = chances[weekday(int(day)), stayed].sum()
    return seen, expected


def _of_new(stays: Stays, rates: Rates, end: int) -> tuple[float, float]:
    """Who came in a window and left in it, and how many of them were expected to."""
    new = (stays.admitted > end - _WINDOW) & (stays.admitted <= end)
    seen, expected = _discharges(Stays(stays.admitted[new], stays.left[new]), rates, end - _WINDOW + 1, end)
    return float(seen.sum()), float(expected.sum())
