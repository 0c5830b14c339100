"""What a board, drawn or replayed, says of itself: tables for the run folder, a few lines for the screen."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd

from hi_ml.app.text import number
from hi_ml.prediction.feed.backtest import MODEL, VERDICTS, Backtest
from hi_ml.reports import page

_TONES = dict(
    zip(VERDICTS, (("signal", "✓"), ("no_signal", "≈"), ("inconclusive", "?")), strict=True)
)  # colour and sign
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
    report = page.render(_page(drawn, table, census, at), {}, template=page.BOARD)
    return {"board": table, "board_details": {**facts, **drawn}, "report": report}


def _page(drawn: Mapping[str, Any], table: pd.DataFrame, census: int, at: datetime) -> dict[str, Any]:
    """Collect what the page of a board says: the beds of all units together, then those of each."""
    tone, sign = _TONES.get(drawn["verdict"], ("", ""))
    units = []
    for name, days in table.groupby("unit", sort=False):
        whole = name == "all"
        rows = [
            [str(day["date"]), f"{day['mean']:.1f}", f"{day['low']:.0f}", f"{day['high']:.0f}",
             *([f"{day['discharges']:.1f}"] if whole else [])]
            for day in days.to_dict("records")
        ]  # fmt: skip
        units.append({"name": "All units" if whole else name, "rows": rows, "whole": whole})
    return {
        "title": f"{census:,} beds taken, {at:%Y-%m-%d %H:%M}",
        "verdict": drawn["verdict"],
        "sentence": drawn["verdict_sentence"].removeprefix(f"{drawn['verdict']}: "),
        "tone": tone,
        "sign": sign,
        "alarms": [alarm["sentence"] for alarm in drawn["alarms"]],
        "units": sorted(units, key=lambda unit: not unit["whole"]),
    }


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
