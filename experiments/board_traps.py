"""What do three shortcuts of a board cost? Beds by counting alone, as `board evaluate=true` does, and with each one.

``python experiments/board_traps.py``: the feeds of ``simulate stream=true`` with their defaults, the last quarter of
the days, a forecast every third day, 14 days ahead.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from hi_ml.data import simulation
from hi_ml.data.simulation.simulate import FIRST_DAY
from hi_ml.data.simulation.stream import RHYTHMS
from hi_ml.prediction.feed.census import Rates, Stays, forecast
from hi_ml.prediction.feed.laws import WEEK, Arrivals
from hi_ml.prediction.feed.past import days_of
from hi_ml.statistics.counts import crps

HORIZONS, EVERY = 14, 3
NOBODY = Arrivals(np.zeros(WEEK), 0.0)


def laws(stays: Stays, origin: int) -> dict[str, np.ndarray]:
    """Forecast from an origin as it should be done, and with each shortcut, by name."""
    there = stays.there(origin)
    elapsed, over = origin - stays.admitted[there], stays.left <= origin
    rates, completed = Rates.of(stays, origin), Rates.of(Stays(stays.admitted[over], stays.left[over]), origin)
    ways = {
        "counting": (rates, elapsed),
        "days stayed ignored": (rates, np.zeros_like(elapsed)),
        "completed stays only": (replace(completed, arrivals=rates.arrivals), elapsed),
        "arrivals forgotten": (replace(rates, arrivals=NOBODY), elapsed),
    }
    return {
        name: forecast(known, known.hazard, stayed, today=origin, horizons=HORIZONS)
        for name, (known, stayed) in ways.items()
    }


def main() -> None:
    """Print the CRPS of each way, in beds, mean over the days ahead."""
    first = int(days_of(pd.Series([pd.Timestamp(FIRST_DAY)]))[0])
    for scenario in RHYTHMS:
        feed = simulation.stream(scenario)
        stays = Stays(*(feed.visits[name].to_numpy() + first for name in ("admitted", "left")))
        last, missed = first + feed.days - 1, {}
        for origin in range(last - feed.days // 4, last - HORIZONS + 1, EVERY):
            truth = stays.censuses(origin + 1, origin + HORIZONS)
            for name, law in laws(stays, origin).items():
                missed.setdefault(name, []).append(crps(law, truth).mean())
        print(scenario, ", ".join(f"{name} {np.mean(beds):.1f}" for name, beds in missed.items()), flush=True)


if __name__ == "__main__":
    main()
