"""The charts of a finding, each with its table."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.findings.finding import Finding
from hi_ml.report import drawings

Chart = tuple[str, Figure, pd.DataFrame]
_EVIDENCE = "evidence"  # a table made of the finding itself


class _Picture(NamedTuple):
    """Of which table a chart is, how it is made, and what it shows."""

    table: str
    draw: Callable[[Finding, pd.DataFrame, str], drawings.Drawn]
    shows: str


_PICTURES = {
    "forest": _Picture(_EVIDENCE, drawings.evidence, "Forest plot: estimates beside the zone too small to matter"),
    "conditions": _Picture("condition_forest", drawings.conditions_by_age, "Forest plot: shares, old less young"),
    "heat_map": _Picture("share_by_decade", drawings.decade_map, "Heat map: share of each condition by decade of age"),
    "decades": _Picture("share_by_decade", drawings.decade_lines, "Line graphs: share of each condition by age"),
    "hospitals": _Picture("hospital_effects", drawings.hospital_means, "Bar chart: shrunken mean bill by hospital"),
    "funnel": _Picture("hospital_funnel", drawings.funnel, "Funnel plot: mean bills of hospitals by volume"),
    "insurers": _Picture("insurer_means", drawings.insurer_means, "Bar chart: mean bill by insurer"),
    "by_condition": _Picture("stay_by_condition", drawings.stays_by_condition, "Forest plot: emergencies less others"),
    "months": _Picture("stay_by_month", drawings.months, "Line graphs: mean stay by admission type and month"),
    "distribution": _Picture("stay_distribution", drawings.distribution, "Bar charts: stays by admission type"),
    "stays": _Picture("stay_by_medication", drawings.medication_stays, "Bar chart: mean stay by medication"),
    "names": _Picture("identity", drawings.names, "Bar chart: agreement of admissions of one name"),
    "care": _Picture("payer_care", drawings.care, "Heat map: recorded care by insurer, with adjusted residuals"),
    "balance": _Picture("payer_balance", drawings.differences, "Love plot: differences between insurers"),
}  # fmt: skip
"""By the end of the file stem, in the order of the report."""


def of_finding(finding: Finding) -> Iterator[Chart]:
    """Yield name, figure and table of the charts of a finding: its estimates first, then each of its tables.

    Parameters
    ----------
    finding : Finding
        A claim that could not be tested may have no chart.

    Yields
    ------
    name : str
        File stem, such as ``age_condition_forest``; see `shows`.
    figure : Figure
    table : DataFrame
        What the figure draws.
    """
    title = title_of(finding)
    tables = {_EVIDENCE: drawings.evidence_table(finding)} | dict(finding.tables)
    for stem, picture in _PICTURES.items():
        if len(tables.get(picture.table, ())):
            figure, table = picture.draw(finding, tables[picture.table], title)
            yield f"{finding.finding}_{stem}", figure, table


def shows(name: str) -> str:
    """Say what a chart shows, for a reader who cannot see it.

    Parameters
    ----------
    name : str
        As yielded by `of_finding`.

    Examples
    --------
    >>> shows("billing_variation_funnel")
    'Funnel plot: mean bills of hospitals by volume'
    """
    found = [picture.shows for stem, picture in _PICTURES.items() if name.endswith(f"_{stem}")]
    return max(found, key=len) if found else name.replace("_", " ")


def title_of(finding: Finding) -> str:
    """Put the claim into its verdict sentence, so that a chart on its own says what was refuted or supported."""
    verdict, _, why = finding.sentences[0].rstrip(".").partition(": ")
    return f"{verdict}: “{finding.claim}” {why[:1].upper()}{why[1:]}".rstrip() + ("." if why else "")
