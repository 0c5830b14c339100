"""What do the charts of the findings say beside their tables? Captions, units and marks, one function per chart.

Each takes the finding, the table and the title, and returns the figure with the table that it draws.

The charts of a finding, each with its table.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.claims.finding import Finding
from hi_ml.reports.charts import heat_maps, lines
from hi_ml.reports.charts.balance import balance
from hi_ml.reports.charts.forests import forest
from hi_ml.reports.charts.hospitals import hospital_bills, hospital_funnel
from hi_ml.reports.charts.means import agreement, means
from hi_ml.reports.charts.style import caption

Drawn = tuple[Figure, pd.DataFrame]
ROLES = {"primary": "decides the verdict", "secondary": "shown beside it", "exploratory": "exploratory"}
_CLAIMED = ("claimed", "not claimed")
_STAR = "A star stands at a false discovery rate of 5 % (Benjamini-Hochberg)."
_BARS = "Lines: 95 % intervals"
_GREY = f"{_BARS}; grey: effects too small to matter."


def evidence_table(finding: Finding) -> pd.DataFrame:
    """Lay out the estimates that have a smallest effect that matters, as a forest draws them."""
    table = [
        (item.estimand, item.unit, item.estimate, item.low, item.high, item.n, item.smallest_effect, ROLES[item.role])
        for item in finding.evidence
        if item.smallest_effect is not None
    ]
    columns = ["label", "unit", "estimate", "low", "high", "n", "smallest_effect", "mark"]
    return pd.DataFrame(table, columns=columns)


def evidence(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the estimates of a finding, each against the smallest effect that matters."""
    missing = ", ".join(gap.part for gap in finding.gaps if gap.part)
    note = _GREY
    note += f" Not testable: {missing.replace('_', ' ')}." if missing else ""
    marks = tuple(ROLES.values())
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=marks), table


def conditions_by_age(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw how far the share of each condition differs between old and young."""
    table = table.assign(unit="share of admissions", mark=table["claimed"].map({True: _CLAIMED[0], False: _CLAIMED[1]}))
    table = table.rename(columns={"condition": "label"}).sort_values("claimed", ascending=False, kind="stable")
    note = f"Share of admissions of the older less that of the younger. {_GREY} {_STAR}"
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=_CLAIMED), table


def stays_by_condition(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw how much longer emergency admissions stay, over all and within each condition."""
    decides, mark = ROLES["primary"], ROLES["exploratory"]
    table = table.rename(columns={"condition": "label"}).assign(unit="days", mark=mark)
    every = evidence_table(finding).query("mark == @decides").assign(label="all conditions")
    table = pd.concat([every, table], ignore_index=True).astype({"discovery": "boolean"}).fillna({"discovery": False})
    note = f"Emergency admissions less the others; conditions cannot change the verdict. {_GREY} {_STAR}"
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=(decides, mark)), table


def decade_map(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the shares of conditions by decade of age as a heat map."""
    note = caption(int(table["count"].sum()), "Shares of the admissions of one decade of age sum to 100 %.")
    return heat_maps.shares_by_decade(table, title=title, caption=note), table


def decade_lines(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the shares of conditions over the decades of age."""
    note = caption(int(table["count"].sum()), "Bands: Wilson's 95 % intervals, each decade on its own.")
    return lines.share_by_decade(table, title=title, caption=note), table


def hospital_means(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the shrunken mean bill of each hospital."""
    table = table.assign(centre=finding.tables["hospital_funnel"]["centre"].iloc[0])
    volume = int(finding.tables["funnel_limits"]["n"].min())
    note = (
        f"{len(table):,} hospitals of {volume:,} admissions or more (in brackets). Means are shrunken towards "
        "that of all, the more so the fewer admissions; all are equal where no variance between hospitals is found."
    )
    return hospital_bills(table, title=title, caption=caption(int(table["n"].sum()), note)), table


def funnel(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the mean bills of hospitals in their funnel; the limits join the table as a layer of their own."""
    limits = finding.tables["funnel_limits"].assign(layer="limit")
    both = pd.concat([table.assign(layer="hospital"), limits], ignore_index=True)
    note = (
        f"{len(table):,} hospitals. Of those that differ by luck alone, 5 % leave the inner and 0.2 % the outer limits."
    )
    return hospital_funnel(both, title=title, caption=caption(int(table["n"].sum()), note)), both


def insurer_means(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the mean bill by insurer."""
    note = caption(int(table["n"].sum()), f"{_BARS}, each insurer on its own.")
    measure = ("Mean bill", "currency")
    return means(table, title=title, caption=note, group="insurer", measure=measure), table


def medication_stays(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the mean stay by medication."""
    note = caption(int(table["n"].sum()), f"{_BARS}, each medication on its own.")
    measure = ("Mean length of stay", "days")
    return means(table, title=title, caption=note, group="medication", measure=measure), table


def names(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw how often admissions of one name agree."""
    pairs = next((item.n for item in finding.evidence if item.unit == "share of pairs"), 0)
    note = caption(
        pairs,
        "A name stands for a person where its admissions agree more often than chance.",
        noun="pairs of admissions of one name",
    )
    return agreement(table, title=title, caption=note), table


def months(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the mean stay of each admission type by month."""
    smallest = next((item.smallest_effect for item in finding.evidence if item.role == "primary"), None)
    note = caption(
        int(table["n"].sum()), "Bands: 95 % intervals, each month on its own; where they leave the panel they are cut."
    )
    return lines.stay_by_month(table, title=title, caption=note, smallest=smallest), table


def distribution(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the distribution of stays of each admission type."""
    note = caption(int(table["n"].sum()), "Stays in whole days.")
    return lines.stay_distribution(table, title=title, caption=note), table


def care(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the care of each insurer's patients with its residuals."""
    n = int(table.drop_duplicates(["outcome", "insurer"]).groupby("outcome")["n"].sum().max())
    note = (
        "Share of the insurer's admissions, and below it the adjusted residual within condition and age band: by "
        f"chance, 1 cell in 20 lies beyond ±2. {_STAR}"
    )
    return heat_maps.residuals_by_insurer(table, title=title, caption=caption(n, note)), table


def differences(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    """Draw the standardised differences between insurers and the rest."""
    zone = next(
        (float(item.detail["flagged_from"]) for item in finding.evidence if "flagged_from" in item.detail), None
    )
    n = int(table.drop_duplicates("insurer")["n"].sum())
    note = "Each insurer against all others, in standard deviations, condition and age not held fixed."
    return balance(table, title=title, caption=caption(n, note), zone=zone), table


Chart = tuple[str, Figure, pd.DataFrame]
_EVIDENCE = "evidence"  # a table made of the finding itself


class _Picture(NamedTuple):
    """Of which table a chart is, how it is made, and what it shows."""

    table: str
    draw: Callable[[Finding, pd.DataFrame, str], Drawn]
    shows: str


_PICTURES = {
    "forest": _Picture(_EVIDENCE, evidence, "Forest plot: estimates beside the zone too small to matter"),
    "conditions": _Picture("condition_forest", conditions_by_age, "Forest plot: shares, old less young"),
    "heat_map": _Picture("share_by_decade", decade_map, "Heat map: share of each condition by decade of age"),
    "decades": _Picture("share_by_decade", decade_lines, "Line graphs: share of each condition by age"),
    "hospitals": _Picture("hospital_effects", hospital_means, "Bar chart: shrunken mean bill by hospital"),
    "funnel": _Picture("hospital_funnel", funnel, "Funnel plot: mean bills of hospitals by volume"),
    "insurers": _Picture("insurer_means", insurer_means, "Bar chart: mean bill by insurer"),
    "by_condition": _Picture("stay_by_condition", stays_by_condition, "Forest plot: emergencies less others"),
    "months": _Picture("stay_by_month", months, "Line graphs: mean stay by admission type and month"),
    "distribution": _Picture("stay_distribution", distribution, "Bar charts: stays by admission type"),
    "stays": _Picture("stay_by_medication", medication_stays, "Bar chart: mean stay by medication"),
    "names": _Picture("identity", names, "Bar chart: agreement of admissions of one name"),
    "care": _Picture("payer_care", care, "Heat map: recorded care by insurer, with adjusted residuals"),
    "balance": _Picture("payer_balance", differences, "Love plot: differences between insurers"),
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
    tables = {_EVIDENCE: evidence_table(finding)} | dict(finding.tables)
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
