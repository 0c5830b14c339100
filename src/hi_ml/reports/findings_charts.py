"""How is each kind of chart of a claim drawn? What it shows and says, the claim itself describes."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.claims.chart import GREY, Chart, largest
from hi_ml.claims.finding import MARKS, Finding, forest_lines
from hi_ml.reports.charts import heat_maps, lines, means
from hi_ml.reports.charts.forests import balance, forest
from hi_ml.reports.charts.style import caption

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


def of_finding(finding: Finding) -> Iterator[Drawn]:
    """Draw the charts of a finding: its estimates first, then what its claim describes.

    Parameters
    ----------
    finding : Finding
        A claim that could not be tested may have no chart.
    """
    tables = {_EVIDENCE: forest_lines(finding.evidence)} | dict(finding.tables)
    for chart in (_forest(finding), *finding.charts):
        table = tables.get(chart.table)
        if table is not None and len(table):
            yield Drawn(f"{finding.finding}_{chart.name}", chart.shows, _draw(chart, finding, table), table)


def title_of(finding: Finding) -> str:
    """Put the claim into its verdict sentence, so that a chart on its own says what was refuted or supported."""
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
    return KINDS[chart.kind](table, title=title_of(finding), caption=note, **chart.options, **given)
