"""Do intervals still hold what they promise, do people stay as long as they used to, and are they the same people?

Coverage is counted by the week of admission, once the longest interval of that week has passed: of those discharged so
far the short stays are too many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from hi_ml.app.text import percent
from hi_ml.prediction.drift import Sensitivity, compare, without_few
from hi_ml.prediction.feed.census import Days, Rates, Stays
from hi_ml.prediction.feed.laws import WEEK, weekday
from hi_ml.statistics.estimates import Floats
from hi_ml.tracking.leaving import SMALLEST_CELL

_WEEKS = 9  # closed cohorts that coverage is told of
_FEWEST = 30  # stays in them
_SURE = 0.995  # of the interval of a coverage: looked at each week, one of 95 % cries wolf every second year
_STEP = 0.3  # of the level, per week and share of misses too many
_SPAN = (0.005, 0.5)  # shares outside that an interval may aim at
_WINDOW, _COHORT = 10, 21  # days in which stays are compared with those before: of all, and of who came in them
_REFERENCE = 365  # days before, from which it is learned how long people stay, and how much such windows vary
_LEAST = 120  # days of them
_LIMIT = 4.0  # standard deviations: less than one false alarm a year, also where days move all together
_RECENT = 28  # days of admissions whose columns are compared with training
_FEWEST_ROWS = 100  # of them
_RARELY = Sensitivity(level=0.01)  # asked each day, of windows of which a year holds thirteen


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
    low, high = proportion_confint(held, n, alpha=1 - _SURE, method="wilson")
    sentence = (
        f"{percent(held / n)} % of {n:,} stays lay in their {percent(level)} % interval ({percent(_SURE)} % interval "
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


def watch_columns(profile: Mapping[str, Any], counts: Mapping[str, Days]) -> list[Alarm]:
    """Tell which columns of the admissions of late have moved away from training.

    Parameters
    ----------
    profile, counts : mapping
        As `hi_ml.prediction.drift.compare` takes them; too few rows tell nothing.
    """
    if not profile or max((cells.sum() for cells in counts.values()), default=0) < _FEWEST_ROWS:
        return []
    report = compare(profile, {role: without_few(cells, SMALLEST_CELL) for role, cells in counts.items()}, _RARELY)
    return [Alarm(f"column {name}", column["sentence"]) for name, column in report.items() if column["alarm"]]


def is_recent(admitted: Days, today: int) -> NDArray[np.bool_]:
    """Tell whose columns `watch_columns` looks at."""
    return (admitted > today - _RECENT) & (admitted <= today)


def watch_stays(stays: Stays, today: int) -> Alarm | None:
    """Tell whether people leave later, or sooner, than they did in the year before the last weeks.

    Discharges are compared with what the hazards and weekdays of that year expect of who was there: of all in ten
    days, and of those who came in three weeks, who show what is new. How much such counts vary, earlier windows tell.
    """
    before = today - _COHORT
    first = max(stays.first, before - _REFERENCE + 1)
    if before - first < _LEAST:
        return None
    rates = Rates.of(stays, before)
    if not rates.hazard.any():
        return None
    left, expected = _discharges(stays, rates, first, today)
    ends = _ends(first, today, _WINDOW) - first
    cohorts = [_of_new(stays, rates, int(end)) for end in _ends(first, today, _COHORT)]
    of_all, of_new = (_windows(left, ends), _windows(expected, ends)), np.array(cohorts).T
    for days, whose, (seen, due) in ((_WINDOW, "", of_all), (_COHORT, " of those who came in them", of_new)):
        score = _score(seen, due)
        if abs(score) > _LIMIT:
            how = "longer" if score < 0 else "shorter"
            count = f"{seen[-1]:.0f}" if seen[-1] >= SMALLEST_CELL else f"fewer than {SMALLEST_CELL}"
            return Alarm(
                "stays",
                f"Stays have become {how}: in {days} days {count} discharges{whose} where {due[-1]:.0f} were to "
                f"be expected. Look for what has changed; train anew before trusting the scores.",
            )
    return None


def _ends(first: int, today: int, days: int) -> Days:
    """The last days of windows that follow each other until today."""
    return np.arange(today, first + days, -days)[::-1]


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
    new = (stays.admitted > end - _COHORT) & (stays.admitted <= end)
    seen, expected = _discharges(Stays(stays.admitted[new], stays.left[new]), rates, end - _COHORT + 1, end)
    return float(seen.sum()), float(expected.sum())
