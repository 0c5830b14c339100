"""What a replayed board says of itself: tables for the run folder, a few lines for the screen."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from hi_ml.app.text import number
from hi_ml.prediction.feed.backtest import MODEL, Backtest

_SHOWN = (0, 1, 7, 14)  # days ahead, on the screen; 0 stands for all


def files(result: Backtest) -> dict[str, Any]:
    """Lay the result out, by what `hi_ml.tracking.folder.RunFolder` calls its files."""
    dates = pd.to_datetime(result.forecasts["origin"], unit="D").dt.date
    differences = {name: asdict(difference) for name, difference in result.differences.items()}
    verdict = {"verdict": result.verdict, "sentence": result.sentence, "crps_less_that_of": differences}
    return {"scores": result.scores, "forecasts": result.forecasts.assign(origin=dates), "verdict": verdict}


def summary(result: Backtest) -> str:
    """Write the scores over all horizons, those of the model by horizon, and the verdict."""
    whole = result.scores[result.scores["days"] == 0]
    mine = result.scores[(result.scores["method"] == MODEL) & result.scores["days"].isin(_SHOWN[1:])]
    origins = int(whole["origins"].max())
    lines = [
        "",
        f"Beds taken, {origins} forecasts replayed in the order of time; all days ahead together",
        _align(whole, "method"),
        "\nThe board with the model, by days ahead",
        _align(mine, "days"),
        "",
        result.sentence,
    ]
    return "\n".join(lines)


def _align(scores: pd.DataFrame, first: str) -> str:
    table = pd.DataFrame({first: scores[first].astype(str).str.replace("_", " ")})
    for name in ("crps", "coverage", "mase", "bias", "width"):
        table[name] = scores[name].map(lambda value: number(value, digits=3))
    return table.to_string(index=False)
