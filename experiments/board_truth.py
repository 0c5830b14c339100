"""How near does a replayed board come to the true conditional law of a simulated feed?

``python experiments/board_truth.py hard <run folder of board evaluate=true>``: who is in house, with the true law of
each stay and the true days on which discharges slipped so far, goes on at random; so do those who come. The feed is
that of ``simulate stream=true`` with its defaults.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hi_ml.data import simulation
from hi_ml.data.simulation.simulate import FIRST_DAY
from hi_ml.data.simulation.stream import PER_DAY, Stream, weekday
from hi_ml.statistics.counts import crps

DRAWS, LONGEST, BACK, EVERY = 300, 30, 45, 3
SATURDAY = 5


def put_off(days, rhythm, rng):
    """Move discharges of a weekend to Monday, by chance."""
    late = (weekday(days) >= SATURDAY) & (rng.random(days.shape) < rhythm.deferred)
    return np.where(late, days + 7 - weekday(days), days)


def due_days(feed: Stream, chances, today, rng):
    """Draw when those in house are due, given that they are still there, shape (draws, n)."""
    rhythm, visits = feed.rhythm, feed.visits
    here = np.flatnonzero((visits["admitted"] <= today) & (visits["left"] > today))
    days = visits["admitted"].to_numpy()[here, None] + np.arange(1, LONGEST + 1)
    weekend = weekday(days) >= SATURDAY
    dues = np.stack([days, np.where(weekend, days + 7 - weekday(days), days)], axis=2)
    share = np.where(weekend, rhythm.deferred, 0.0)
    weights = np.stack([chances[here] * (1 - share), chances[here] * share], axis=2)
    slipped = np.cumprod([rhythm.slip if feed.shocks[today - back] else 0.0 for back in range(BACK)])
    past = dues <= today
    weights[past] *= slipped[np.minimum(today - dues[past], BACK - 1)]
    running = np.cumsum(weights.reshape(len(here), -1), axis=1)
    drawn = rng.random((len(here), DRAWS)) * running[:, -1:]
    picked = np.array([np.searchsorted(row, draw) for row, draw in zip(running, drawn, strict=True)])
    return dues.reshape(len(here), -1)[np.arange(len(here))[:, None], picked].T


def newcomers(feed: Stream, chances, today, horizons, rng):
    """Draw who comes and when they are due, shapes (draws, most)."""
    rhythm, ahead = feed.rhythm, today + np.arange(1, horizons + 1)
    rates = PER_DAY * np.array(rhythm.arrivals)[weekday(ahead)]
    factor = rng.gamma(1 / rhythm.spread, rhythm.spread, (DRAWS, horizons)) if rhythm.spread else 1.0
    counts = rng.poisson(rates * factor * np.ones((DRAWS, horizons)))
    come = np.full((DRAWS, counts.sum(axis=1).max()), np.iinfo(np.int64).max // 2)
    due = come.copy()
    for row, count in enumerate(counts):
        days = np.repeat(ahead, count)
        come[row, : len(days)] = days
        stays = 1 + rng.choice(LONGEST, len(days), p=chances.mean(axis=0))
        due[row, : len(days)] = put_off(days + stays, rhythm, rng)
    return come, due


def true_law(feed: Stream, chances, today, horizons, rng):
    """Draw the beds taken at the end of each of the next days, shape (horizons, draws)."""
    due = due_days(feed, chances, today, rng)
    come, new = newcomers(feed, chances, today, horizons, rng)
    come, due = (np.concatenate(pair, axis=1) for pair in ((np.full(due.shape, today), come), (due, new)))
    inside, beds = np.ones(due.shape, dtype=bool), []
    for day in range(today + 1, today + horizons + 1):
        shock = rng.random(DRAWS) < feed.rhythm.shocks
        slips = shock[:, None] & (rng.random(due.shape) < feed.rhythm.slip)
        inside &= ~((due <= day) & ~slips)
        beds.append((inside & (come <= day)).sum(axis=1))
    return np.array(beds)


def main() -> None:
    """Compare the CRPS of the boards in a run folder with that of the truth, over every third origin."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("scenario", choices=["plain", "hard"])
    asked.add_argument("folder", type=Path)
    arguments = asked.parse_args()
    feed, rng = simulation.stream(arguments.scenario), np.random.default_rng(0)
    chances = feed.simulated.process.stay.chances(feed.visits["mean"].to_numpy())
    chances /= chances.sum(axis=1, keepdims=True)
    table = pd.read_csv(arguments.folder / "forecasts.csv", parse_dates=["origin"])
    table = table[table["origin"].isin(sorted(table["origin"].unique())[::EVERY])]
    truth = []
    for origin, rows in table[table["method"] == "model"].groupby("origin"):
        beds = true_law(feed, chances, (origin - pd.Timestamp(FIRST_DAY)).days, int(rows["days"].max()), rng)
        laws = np.array([np.bincount(row, minlength=2 * beds.max()) / DRAWS for row in beds])
        truth.append(crps(laws, rows["observed"].to_numpy()).mean())
    scores = table.groupby("method")["crps"].mean()
    print(f"true law: {np.mean(truth):.2f} beds (CRPS), {len(truth)} origins")
    for method, score in scores.sort_values().items():
        print(f"{method}: {score:.2f}, {score / np.mean(truth):.3f} of the truth")


if __name__ == "__main__":
    main()
