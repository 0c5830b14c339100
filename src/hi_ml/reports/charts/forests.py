"""Which estimates lie within what is too small to matter? Forest plots, and the balance of groups of patients."""

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.app.text import in_unit, interval, scale_of
from hi_ml.reports.charts.interval_plot import Key, Mark, Panel, Reference, interval_plot
from hi_ml.reports.charts.layout import chart
from hi_ml.reports.charts.style import DARK, INK, LIGHT, MIDDLE, with_rest, wrap

_MOST = 24  # lines of a forest
_MOST_OF_A_KIND = 30  # lines of a kind of variable
_SHAPES = (("o", DARK), ("o", "white"), ("D", "white"))  # by the order of the marks
_INSURERS = (("o", DARK), ("s", LIGHT), ("^", MIDDLE), ("D", "white"), ("v", INK), ("P", "white"))
"""Beyond so many they look alike."""
_MEANING = {"care": " (what the insurers' patients got)", "case mix": " (who they are)"}
_LEAST_REACH = 1.5  # times the zone: a plot never zooms in so far that noise looks large


@chart
def forest(table: pd.DataFrame, *, title: str, caption: str, marks: Sequence[str]) -> Figure:
    """Draw estimates with their 95 % intervals and, in grey, the effects that are too small to matter.

    Parameters
    ----------
    table : DataFrame
        `label, unit, estimate, low, high, n, smallest_effect, mark`, in the order of the lines; each unit has a panel
        of its own. A line whose `discovery` is true gets a star, where there is such a column. The first 24 are drawn.
    marks : sequence of str
        What `mark` may say, at most three; the first is drawn filled.
    """
    first = table.iloc[:_MOST]
    panels = [_estimates(part, str(unit), marks) for unit, part in first.groupby("unit", sort=False)]
    key = Key(
        marks=[Mark(mark, *shape) for mark, shape in zip(marks, _SHAPES, strict=False)], zone="too small to matter"
    )
    note = with_rest(caption, len(table) - len(first), "further lines")
    return interval_plot(panels, title=title, caption=note, row=0.47, key=key)


def _estimates(part: pd.DataFrame, unit: str, marks: Sequence[str]) -> Panel:
    scale, rows = scale_of(unit), part.to_dict("records")
    numbers = part[["estimate", "low", "high", "smallest_effect"]].astype(float) * scale.factor
    lines = pd.DataFrame(
        {
            "name": [wrap(_name(row), 38, 3) for row in rows],
            "value": numbers["estimate"].array,
            "low": numbers["low"].array,
            "high": numbers["high"].array,
            "zone_low": 0.0 if scale.from_zero else -numbers["smallest_effect"].array,
            "zone_high": numbers["smallest_effect"].array,
            "mark": [marks.index(mark) for mark in part["mark"]],
            "text": [
                f"{in_unit(row['estimate'], unit)} ({interval(row['low'], row['high'], unit)})\nn = {row['n']:,}"
                for row in rows
            ],
        }
    )
    return Panel(lines=lines, axis=scale.words[:1].upper() + scale.words[1:])


def _name(row: dict[Hashable, Any]) -> str:
    name = str(row["label"]).replace("_", " ")
    return name[:1].upper() + name[1:] + (" *" if row.get("discovery") else "")


@chart
def transported(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw what a model is elsewhere beside what it was at home, a panel per measure.

    Parameters
    ----------
    table : DataFrame
        `stage, measure, class, unit, home, value, low, high, margin`. Skill is drawn at every stage, the others at the
        first and the last.
    """
    ends = [table["stage"].iloc[0], table["stage"].iloc[-1]]
    panels = [
        _beside_home(part if measure == "skill" else part[part["stage"].isin(ends)], str(measure))
        for measure, part in table.groupby("measure", sort=False)
    ]
    key = Key(interval="here, with its 95 % interval", beside="at home", zone="within the margin")
    return interval_plot(panels, title=title, caption=caption, row=0.27, key=key)


def _beside_home(part: pd.DataFrame, measure: str) -> Panel:
    factor = 100 if measure == "skill" else 1
    numbers = part[["value", "low", "high", "home", "margin"]].astype(float).reset_index(drop=True) * factor
    labels = part["class"].fillna("").astype(str)
    lines = pd.DataFrame(
        {
            "name": [
                wrap(f"{label}, {stage}" if label else stage, 38, 2)
                for label, stage in zip(labels, part["stage"], strict=True)
            ],
            "value": numbers["value"],
            "low": numbers["low"],
            "high": numbers["high"],
            "beside": numbers["home"],
            "zone_low": numbers["home"] - numbers["margin"],
            "zone_high": numbers["home"] + numbers["margin"],
        }
    )
    unit = "%" if measure == "skill" else str(part["unit"].iloc[0] or "")
    axis = f"{measure[:1].upper()}{measure[1:]}" + (f" ({unit})" if unit else "")
    return Panel(lines=lines, axis=axis, reference=Reference(1.0 if measure == "slope" else 0.0))


@chart
def left_out(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the skill in each place that was left out, the mean of all, and where the next one would lie.

    Parameters
    ----------
    table : DataFrame
        `level, value, low, high, n, next_low, next_high`: shares, a line per place; the last is of all, where it has a
        `next_low`. The 24 largest are drawn.
    """
    last = table[table["next_low"].notna()]
    drawn = pd.concat([table[table["next_low"].isna()].iloc[:_MOST], last], ignore_index=True)
    numbers = drawn[["value", "low", "high"]].astype(float) * 100
    zone = last[["next_low", "next_high"]].astype(float).to_numpy().ravel() * 100
    lines = numbers.assign(
        name=[wrap(f"{level} ({n:,})", 38, 2) for level, n in zip(drawn["level"], drawn["n"], strict=True)],
        mark=drawn["next_low"].notna().astype(int),
    )
    if len(zone):
        lines = lines.assign(zone_low=zone[0], zone_high=zone[1])
    key = Key(marks=[Mark("left out", *_SHAPES[0]), Mark("mean of all", *_SHAPES[2])], zone="95 % of further places")
    note = with_rest(caption, len(table) - len(drawn), "smaller places")
    return interval_plot([Panel(lines=lines, axis="Skill (%)")], title=title, caption=note, row=0.3, key=key)


@chart
def balance(table: pd.DataFrame, *, title: str, caption: str, zone: float | None) -> Figure:
    """Draw the standardised difference between each insurer and the rest, for care and for who the patients are.

    Parameters
    ----------
    table : DataFrame
        `insurer, kind, variable, level, difference` in standard deviations: a panel per kind, a line per level. The 30
        lines of each kind with the farthest points are drawn.
    zone : float or None
        Difference from which a balance table would flag, shaded in grey.
    """
    line = table["variable"].astype(str).str.replace("_", " ") + (": " + table["level"].astype(str)).replace(": ", "")
    insurers = sorted(table["insurer"].unique())
    mark = table["insurer"].map(insurers.index).clip(upper=len(_INSURERS) - 1)
    named = table.assign(name=line, mark=mark, value=table["difference"])
    kinds = {str(kind): _farthest(part) for kind, part in named.groupby("kind", sort=False)}
    reach = max(1.1 * float(table["difference"].abs().max()), _LEAST_REACH * (zone or 0.0), 1e-3)
    panels = [
        Panel(
            lines=part.assign(zone_low=-zone, zone_high=zone) if zone else part,
            heading=f"{kind[:1].upper()}{kind[1:]}{_MEANING.get(kind, '')}",
            ends=(-reach, reach),
            axis="Insurer less the rest (standard deviations)" if kind == list(kinds)[-1] else "",
        )
        for kind, part in kinds.items()
    ]
    further = int(named.groupby("kind")["name"].nunique().sum()) - sum(part.index.nunique() for part in kinds.values())
    note = with_rest(caption, further, "lines closer to zero")
    key = Key(marks=_insurer_marks(insurers), zone=f"within {zone:g}: balanced" if zone else "")
    return interval_plot(panels, title=title, caption=note, row=0.22, key=key)


def _farthest(part: pd.DataFrame) -> pd.DataFrame:
    """Take the lines of a kind that reach farthest, and number them in the order of the table."""
    far = part["difference"].abs().groupby(part["name"]).max().nlargest(_MOST_OF_A_KIND)
    drawn = part[part["name"].isin(far.index)]
    codes, _ = pd.factorize(drawn["name"])
    return drawn.assign(name=[wrap(name, 36, 1) for name in drawn["name"]]).set_index(codes)


def _insurer_marks(insurers: Sequence[str]) -> list[Mark]:
    named = insurers if len(insurers) <= len(_INSURERS) else insurers[: len(_INSURERS) - 1]
    labels = [wrap(name, 20) for name in named]
    if len(insurers) > len(named):
        labels.append(f"{len(insurers) - len(named)} others")
    return [Mark(label, *shape, edge=INK) for label, shape in zip(labels, _INSURERS, strict=False)]
