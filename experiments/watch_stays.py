"""How soon does the watch tell that stays have become longer, and how often does it tell so of nothing?

``python experiments/watch_stays.py --hospitals 8``: simulated hospitals, two years each. From a day of the second year
on stays are a quarter longer: of everyone in house (their remaining days), or of those alone who come from then on.
"""

import argparse
from datetime import date

import numpy as np
from numpy.random import default_rng

from hi_ml.data import simulation
from hi_ml.data.simulation.simulate import FIRST_DAY
from hi_ml.data.simulation.stream import PER_DAY, RHYTHMS, Stream, _departures
from hi_ml.prediction.feed.census import Rates, Stays
from hi_ml.prediction.feed.laws import WEEK, weekday
from hi_ml.prediction.feed.watch import watch_stays

DAYS, YEAR, BEGINS, LONGER, PATIENCE = 740, 365, 500, 1.25, 40
BASE = (FIRST_DAY - date(1970, 1, 1)).days


def drifted(feed: Stream, whose: str, seed: int) -> Stays:
    """Draw who leaves when, as it would be without drift (nobody), or with that of all in house, or of the new."""
    admitted, planned = (feed.visits[name].to_numpy() for name in ("admitted", "planned"))
    begin = {"nobody": np.full(len(admitted), DAYS * 9), "all": np.maximum(admitted, BEGINS), "new": admitted}[whose]
    late = (planned > begin) & (begin >= BEGINS)
    longer = np.where(late, begin + np.rint(LONGER * (planned - begin)), planned).astype(np.int64)
    left, _ = _departures(feed.rhythm, longer, default_rng(seed))
    return Stays(admitted + BASE, left + BASE)


def days_until(stays: Stays) -> int:
    """Count the days from the drift until it is told; `PATIENCE` where it is not."""
    days = (day for day in range(1, PATIENCE) if watch_stays(stays, BASE + BEGINS + day - 1))
    return next(days, PATIENCE)


def false_alarms(stays: Stays) -> int:
    """Count the alarms of a year in which nothing changed; one that lasts counts once."""
    told = np.array([watch_stays(stays, BASE + day) is not None for day in range(YEAR, 2 * YEAR)])
    days = np.flatnonzero(told)
    return int(len(days) > 0) + int((np.diff(days) > WEEK).sum())


def best_test(stays: Stays, rates: Rates, days: int) -> float:
    """The deviation, in standard deviations, of the best test of this drift among the new, its start and size known."""
    cumulative = np.append(0.0, np.cumsum(rates.hazard))
    ages = np.arange(len(cumulative))
    drift = np.diff(np.interp(ages / LONGER, ages, cumulative))
    weight = np.log(np.maximum(drift, 1e-9) / np.maximum(rates.hazard, 1e-9)).clip(-2, 2)
    deviation = variance = 0.0
    for day in range(BASE + BEGINS, BASE + BEGINS + days):
        here = (stays.admitted >= BASE + BEGINS) & (stays.admitted <= day) & (stays.left >= day)
        age, gone = day - stays.admitted[here], stays.left[here] == day
        chance = -np.expm1(-rates.weekdays[weekday(day)] * rates.hazard[age])
        deviation += float((weight[age] * (gone - chance)).sum())
        variance += float((weight[age] ** 2 * chance * (1 - chance)).sum())
    return deviation / np.sqrt(variance)


def main() -> None:
    """Print, by kind of hospital, the days until an alarm and the false alarms of a year."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--hospitals", type=int, default=8)
    count = words.parse_args().hospitals
    for scenario in RHYTHMS:
        soon: dict[str, list[int]] = {"all": [], "new": []}
        false, best = [], []
        for seed in range(count):
            feed = simulation.stream(scenario, int(DAYS * PER_DAY), seed=seed)
            for whose, days in soon.items():
                days.append(days_until(drifted(feed, whose, seed)))
            quiet, new = (drifted(feed, whose, seed) for whose in ("nobody", "new"))
            best.append(best_test(new, Rates.of(quiet, BASE + BEGINS - 1), 14))
            false.append(false_alarms(quiet))
        print(
            f"{scenario}: days until the alarm, all in house {sorted(soon['all'])}, the new alone {sorted(soon['new'])}"
        )
        print(f"  false alarms in {count} years: {sum(false)}; best test of the new on day 14: {np.mean(best):.1f}, "
              f"{min(best):.1f} to {max(best):.1f} standard deviations", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
