"""What a board, drawn or replayed, says of itself: tables for the run folder, a few lines for the screen."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from html import escape
from importlib.resources import files as resources
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


def files_of_board(drawn: Mapping[str, Any], census: int, at: datetime) -> dict[str, Any]:
    """Lay one board out: a table of all days and units, the distributions, and a page."""
    facts = {"as_of": at.isoformat(timespec="seconds"), "census": census}
    table = board_table(drawn)
    style = resources("hi_ml.reports").joinpath("page.css").read_text("utf-8")
    page = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Beds</title><style>{style}</style><main>",
        f"<h1>{census} beds taken, {at:%Y-%m-%d %H:%M}</h1><p><strong>{escape(drawn['verdict'])}</strong>",
        escape(drawn["verdict_sentence"]),
        table.to_html(index=False, na_rep="", border=0),
        "<p>Not a medical device: decisions stay with people.</main></html>",
    ]
    return {"board": table, "board_details": {**facts, **drawn}, "report": "\n".join(page)}


def board_table(drawn: Mapping[str, Any]) -> pd.DataFrame:
    """Lay out the beds of each day and unit: `days, date, unit, mean, low, median, high, discharges` (of all)."""
    rows = []
    for day in drawn["horizons"]:
        for name, unit in day["units"].items():
            low, median, high = (unit["quantiles"][share] for share in sorted(unit["quantiles"], key=float))
            gone = day["discharges"] if name == "all" else None
            rows.append((day["days"], day["date"], name, unit["mean"], low, median, high, gone))
    return pd.DataFrame(rows, columns=["days", "date", "unit", "mean", "low", "median", "high", "discharges"])


def summary_of_board(drawn: Mapping[str, Any], census: int, at: datetime) -> str:
    """Write the beds of all units together, and what stands behind them."""
    table = board_table(drawn)
    whole = table[table["unit"] == "all"].drop(columns="unit")
    verdict = f"{drawn['verdict']}. {drawn['verdict_sentence']}"
    alarms = [f"Alarm: {alarm['sentence']}" for alarm in drawn["alarms"]]
    return "\n".join([f"\n{census} beds taken, {at:%Y-%m-%d %H:%M}", whole.to_string(index=False), verdict, *alarms])


def _align(scores: pd.DataFrame, first: str) -> str:
    table = pd.DataFrame({first: scores[first].astype(str).str.replace("_", " ")})
    for name in ("crps", "coverage", "mase", "bias", "width"):
        table[name] = scores[name].map(lambda value: number(value, digits=3))
    return table.to_string(index=False)
