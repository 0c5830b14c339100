"""How is each kind of chart of a claim drawn? What it shows and says, the claim itself describes."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.api.types import is_float_dtype

from hi_ml.claims.chart import GREY, Chart, largest
from hi_ml.claims.finding import MARKS, Finding, forest_lines
from hi_ml.reports.charts import heat_maps, lines, means
from hi_ml.reports.charts.forests import balance, forest
from hi_ml.reports.drawing import caption
from hi_ml.statistics.disclosure import withheld

KINDS: Mapping[str, Callable[..., Figure]] = {
    "forest": forest,
    "means": means.means,
    "agreement": means.agreement,
    "balance": balance,
    "hospital_bills": means.hospital_bills,
    "hospital_funnel": means.hospital_funnel,
    "decade_heat_map": heat_maps.shares_by_decade,
    "care_heat_map": heat_maps.residuals_by_group,
    "decade_lines": lines.share_by_decade,
    "month_lines": lines.stay_by_month,
    "stay_distribution": lines.stay_distribution,
}
"""Each takes the table, a title, a caption and the options of the chart."""
_EVIDENCE = "evidence"


class Drawn(NamedTuple):
    """A chart of a finding."""

    name: str  # file stem, such as ``age_condition_forest``
    shows: str  # for a reader who cannot see it
    figure: Figure
    table: pd.DataFrame  # what the figure draws


def of_finding(finding: Finding, *, smallest_cell: int = 5) -> Iterator[Drawn]:
    """Draw the charts of a finding: its estimates first, then what its claim describes.

    Parameters
    ----------
    finding : Finding
        A claim that could not be tested may have no chart.
    smallest_cell : int
        Lines that count fewer are left out of tables and charts, and those that would tell of them.
    """
    tables = {_EVIDENCE: forest_lines(finding.evidence)} | dict(finding.tables)
    for chart in (_forest(finding), *finding.charts):
        table = _without_few(tables.get(chart.table), smallest_cell)
        if table is not None and len(table):
            yield Drawn(f"{finding.finding}_{chart.name}", chart.shows, _draw(chart, finding, table), table)


def _without_few(table: pd.DataFrame | None, smallest: int) -> pd.DataFrame | None:
    """Leave out the lines of too few: those that a table's columns before its counts name add up to known sums."""
    counts = [name for name in ("patients", "count", "n") if table is not None and name in table]
    if table is None or not counts:
        return table
    counted = next(name for name in counts if name != "patients")
    known = table[counts].dropna(axis="columns", how="all")
    sizes = known.min(axis="columns").fillna(0).to_numpy().astype(np.int64)
    named = [table[name] for name in table.columns[: table.columns.get_loc("n")] if name != counted]
    keys = [pd.factorize(key)[0] for key in named if key.duplicated().any() and not is_float_dtype(key)]
    return table[~withheld(sizes, smallest, *keys)].drop(columns="patients", errors="ignore").reset_index(drop=True)


def title_of(finding: Finding) -> str:
    """Put the claim into its verdict sentence: the subtitle, so that a chart on its own says what was refuted."""
    verdict, _, why = finding.sentences[0].rstrip(".").partition(": ")
    if finding.as_far:
        why = why[len(finding.covered) :].strip()
    return f"{verdict}: “{finding.covered}” {why[:1].upper()}{why[1:]}".rstrip() + ("." if why else "")


def _forest(finding: Finding) -> Chart:
    missing = ", ".join(gap.part for gap in finding.gaps).replace("_", " ").replace("{", "{{").replace("}", "}}")
    return Chart(
        name="forest",
        kind="forest",
        table=_EVIDENCE,
        shows="Forest plot: estimates beside the zone too small to matter",
        note=f"{GREY} Not testable: {missing}." if missing else GREY,
        count=largest,
        options={"marks": tuple(MARKS.values())},
    )


def _draw(chart: Chart, finding: Finding, table: pd.DataFrame) -> Figure:
    n = finding.facts[chart.count] if isinstance(chart.count, str) else chart.count(table)
    note = caption(n, chart.note.format(**finding.facts), noun=chart.noun)
    given = {option: finding.facts.get(option) for option in chart.given}
    title = f"{chart.says}\n{title_of(finding)}"
    return KINDS[chart.kind](table, title=title, caption=note, **chart.options, **given)
