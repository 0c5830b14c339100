"""How good is a model, held against knowing nothing, against other models, and against what its intervals promise?"""

import math
from collections.abc import Collection, Hashable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.app.text import signed_interval
from hi_ml.reports.charts.interval_plot import Key, Mark, Panel, Reference, interval_plot
from hi_ml.reports.charts.layout import chart
from hi_ml.reports.charts.style import with_rest, wrap

_LEAST_REACH = 0.1  # of the baseline: a strip never zooms in so far that a hair's breadth looks like a gulf
_ROOM = 1.25  # of the farthest value from the baseline
_MOST = 24  # lines
_LOW = 4  # lines at most of a chart that is too low for a name beside them


@chart
def scores_against_baseline(
    table: pd.DataFrame, *, title: str, caption: str, higher_is_better: Collection[str]
) -> Figure:
    """Draw each score with its interval on a strip of its own, in its own unit, around the baseline in the middle.

    Right of the line is better than the baseline, left is worse, for every score: where less is better, the strip's
    axis runs from right to left.

    Parameters
    ----------
    table : DataFrame
        `score, name, value, low, high, baseline, unit`, one row per score. A score without baseline is drawn
        around itself, one without value is named only.
    higher_is_better : collection of str
        Names of the scores of which more is better; of all others, less is.
    """
    rows = table.to_dict("records")
    strips = [_strip(row, ascending=row["score"] in higher_is_better) for row in rows]
    figure = interval_plot(strips, title=title, caption=caption, row=0.32)
    for ax, row in zip(figure.axes, rows, strict=True):
        worse, better = ax.get_xlim()
        least, most = _possible(row)
        ax.axvspan((worse + better) / 2, min(max(better, least), most), color="#EDF2F8", zorder=0)
        ax.set_xticks([tick for tick in ax.get_xticks() if least <= tick <= most])
        ax.set_xlim(worse, better)
        ax.spines["bottom"].set_bounds(max(min(worse, better), least), min(max(worse, better), most))
        ax.tick_params(axis="x", labelsize=8)
    for x, text, side in ((0.0, "← worse", "left"), (0.5, "baseline", "center"), (1.0, "better →", "right")):
        figure.axes[0].annotate(text, (x, 1.08), xycoords="axes fraction", ha=side, va="bottom", fontsize=9)
    return figure


@chart
def leak(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw what each source of leakage adds to a score, with its interval, and what a memoriser would gain.

    Parameters
    ----------
    table : DataFrame
        `source, gap, low, high`; the limits may be NaN.
    unit : str
        Of the gaps.
    """
    lines = table.rename(columns={"gap": "value"}).assign(
        name=[wrap(name, 34) for name in table["source"]],
        text=[
            first if pd.isna(row[1]) else f"{first} ({ends})"
            for row in table[["gap", "low", "high"]].to_numpy(float)
            for first, ends in [signed_interval(*row)]
        ],
    )
    panel = Panel(lines=lines, axis=f"How much better the score would look ({unit})")
    return interval_plot([panel], title=title, caption=caption, row=0.45, key=Key(interval="95 % interval"))


def _strip(row: dict[Hashable, Any], *, ascending: bool) -> Panel:
    value, low, high, baseline = (float(row[name]) for name in ("value", "low", "high", "baseline"))
    center = next((point for point in (baseline, value) if math.isfinite(point)), 0.0)
    farthest = max((abs(end - center) for end in (value, low, high) if math.isfinite(end)), default=0.0)
    reach = max(_ROOM * farthest, _LEAST_REACH * (abs(center) or 1.0)) * (1 if ascending else -1)
    text = _in_words(value, low, high, baseline)
    lines = pd.DataFrame({"name": [_name(row)], "value": value, "low": low, "high": high, "text": text})
    return Panel(lines=lines, reference=Reference(baseline, style="--"), ends=(center - reach, center + reach))


def _possible(row: dict[Hashable, Any]) -> tuple[float, float]:
    """The values that a score can have: the axis ends there."""
    most = 1.0 if row["unit"] in ("share", "area") else math.inf
    return -math.inf if row["score"] == "r2" else 0.0, most


def _name(row: dict[Hashable, Any]) -> str:
    unit = "" if pd.isna(row["unit"]) or not row["unit"] else f"\n({wrap(row['unit'], 24, 1)})"
    return wrap(row["name"], 24) + unit


def _in_words(value: float, low: float, high: float, baseline: float) -> str:
    if not math.isfinite(value):
        return "not defined"
    width = high - low
    # two digits of the interval's width, so that its ends and the baseline can be told apart
    places = min(4, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3
    middle, start, end, constant = (f"{one:z,.{places}f}".replace("-", "−") for one in (value, low, high, baseline))
    interval = f" ({start} to {end})" if math.isfinite(width) else ""
    return f"{middle}{interval}\n" + (f"baseline {constant}" if math.isfinite(baseline) else "no baseline")


@chart
def differences_from_best(table: pd.DataFrame, *, title: str, caption: str, best: str) -> Figure:
    """Draw the paired difference of each run from the best one, with its 95 % interval.

    Parameters
    ----------
    table : DataFrame
        `run, score, difference, low, high, p_holm, unit, better, smallest`, in the order of the lines: the run less the
        best one; `smallest` is the difference that would matter, drawn in grey, or NaN. A dot is filled where `p_holm`
        lies below 5 %. The first 24 are drawn.
    best : str
        The run at zero.
    """
    from hi_ml.modeling.scores.score import title as score_title  # noqa: PLC0415 -- scipy, which only comparisons need
    from hi_ml.statistics.estimates import LEVEL  # noqa: PLC0415 -- the same

    first = table.iloc[:_MOST].reset_index(drop=True)
    lines = first.assign(
        name=[wrap(run, 30) for run in first["run"]],
        value=first["difference"],
        zone_low=-first["smallest"],
        zone_high=first["smallest"],
        mark=(first["p_holm"] >= LEVEL).astype(int),
        text=[
            "{} ({})".format(*signed_interval(*ends)) for ends in first[["difference", "low", "high"]].to_numpy(float)
        ],
    )
    top = first.to_dict("records")[0]
    name = score_title(top["score"])
    axis = f"{name[:1].upper()}{name[1:]} less that of {wrap(best, 30, 1)} ({top['unit']})"
    side = "left" if top["better"] == "less" else "right"
    panel = Panel(lines=lines, axis=f"{axis}; {side} is better")
    marks = [Mark(f"differs (p < {LEVEL:g}, Holm)"), Mark("not told apart", filling="white")]
    key = Key(marks=marks, zone="too small to matter" if first["smallest"].notna().all() else "")
    note = with_rest(caption, len(table) - len(first), "further runs")
    return interval_plot([panel], title=title, caption=note, row=0.42, key=key)


@chart
def intervals(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw coverage against the level that was asked for, and mean size against knowing nothing, slice by slice.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.coverage.slice_table`: `by, slice, n, coverage, low, high, level, size, baseline_size,
        unit`,
        in the order of the lines. The first 24 are drawn.
    """
    first = table.iloc[:_MOST].reset_index(drop=True)
    by = first["by"].str.replace("_", " ")
    low = len(first) <= _LOW  # no room to say beside the lines of what they are slices
    named = (by + " " + first["slice"]).str.strip() if low else first["slice"]
    names = [f"{wrap(name, 34 if low else 26, 1)}, n = {n:,}" for name, n in zip(named, first["n"], strict=True)]
    chance = {"zone_low": 100 * first["low"], "zone_high": 100 * first["high"]}
    top = first.to_dict("records")[0]
    coverage = Panel(
        lines=pd.DataFrame({"name": names, "value": 100 * first["coverage"], **chance}),
        axis="Coverage (% of admissions)",
        reference=Reference(100 * top["level"], "asked for"),
        ends=(None, 100.0),
        zone_height=0.42,
    )
    size = Panel(
        lines=pd.DataFrame({"name": names, "value": first["size"]}),
        axis=f"{'Mean size' if top['unit'] == 'labels' else 'Mean width'} ({top['unit']})",
        reference=Reference(top["baseline_size"], "knowing nothing", "--"),
        ends=(0.0, None),
    )
    note, key = with_rest(caption, len(table) - len(first), "further lines"), Key(zone="what chance explains")
    figure = interval_plot([coverage, size], title=title, caption=note, row=0.3, key=key, across=True)
    if not low:
        figure.axes[0].set_ylabel(wrap(by.iloc[-1][:1].upper() + by.iloc[-1][1:], 26, 1))
    return figure
