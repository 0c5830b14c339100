"""The charts of a finding, each with its table."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.charts import heat_maps, lines
from hi_ml.charts.balance import balance
from hi_ml.charts.forests import forest
from hi_ml.charts.hospitals import hospital_bills, hospital_funnel
from hi_ml.charts.means import agreement, means
from hi_ml.charts.style import caption
from hi_ml.findings.finding import Finding

Chart = tuple[str, Figure, pd.DataFrame]
Drawn = tuple[Figure, pd.DataFrame]
DECIDES = "decides the verdict"
_ROLES = {"primary": DECIDES, "secondary": "shown beside it", "exploratory": "exploratory"}
_CLAIMED = ("claimed", "not claimed")
_STAR = "A star stands at a false discovery rate of 5 % (Benjamini-Hochberg)."
_BARS = "Lines: 95 % intervals"


class _Picture(NamedTuple):
    """Of which table a chart is, what it is called, what it shows, and how it is made."""

    table: str
    stem: str
    shows: str
    draw: Callable[[Finding, pd.DataFrame, str], Drawn]


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
    made = {"evidence": evidence_table(finding)} | dict(finding.tables)
    for picture in _PICTURES:
        if len(made.get(picture.table, ())):
            figure, table = picture.draw(finding, made[picture.table], title)
            yield f"{finding.finding}_{picture.stem}", figure, table


def shows(name: str) -> str:
    """Say what a chart shows, for a reader who cannot see it.

    Parameters
    ----------
    name : str
        As yielded by `of_finding`.

    Examples
    --------
    >>> shows("billing_variation_funnel")
    'Funnel plot of the mean bill of each hospital against its admissions, with the limits of chance'
    """
    found = [picture.shows for picture in _PICTURES if name.endswith(f"_{picture.stem}")]
    return max(found, key=len) if found else name.replace("_", " ")


def title_of(finding: Finding) -> str:
    """Put the claim into its verdict sentence, so that a chart on its own says what was refuted or supported."""
    verdict, _, why = finding.sentences[0].rstrip(".").partition(": ")
    return f"{verdict}: “{finding.claim}” {why[:1].upper()}{why[1:]}".rstrip() + ("." if why else "")


def evidence_table(finding: Finding) -> pd.DataFrame:
    """Lay out the estimates that have a smallest effect that matters, as a forest draws them."""
    table = [
        (item.estimand, item.unit, item.estimate, item.low, item.high, item.n, item.smallest_effect, _ROLES[item.role])
        for item in finding.evidence
        if item.smallest_effect is not None
    ]
    columns = ["label", "unit", "estimate", "low", "high", "n", "smallest_effect", "mark"]
    return pd.DataFrame(table, columns=columns)


def _evidence(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    missing = ", ".join(gap.part for gap in finding.gaps if gap.part)
    note = f"{_BARS}; grey: smaller than the smallest effect that matters."
    note += f" Not testable: {missing.replace('_', ' ')}." if missing else ""
    marks = tuple(_ROLES.values())
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=marks), table


def _conditions_by_age(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    table = table.assign(
        unit="share of admissions", mark=table["claimed"].map(dict(zip((True, False), _CLAIMED, strict=True)))
    )
    table = table.rename(columns={"condition": "label"}).sort_values("claimed", ascending=False, kind="stable")
    note = f"Share of admissions of the older less that of the younger. {_BARS}; grey: too small to matter. {_STAR}"
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=_CLAIMED), table


def _stays_by_condition(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    mark = _ROLES["exploratory"]
    table = table.rename(columns={"condition": "label"}).assign(unit="days", mark=mark)
    every = evidence_table(finding).query("mark == @DECIDES").assign(label="all conditions")
    table = pd.concat([every, table], ignore_index=True).astype({"discovery": "boolean"}).fillna({"discovery": False})
    note = f"Emergency admissions less the others; conditions cannot change the verdict. {_BARS}; grey: too small to matter. {_STAR}"
    return forest(table, title=title, caption=caption(int(table["n"].max()), note), marks=(DECIDES, mark)), table


def _decade_map(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    note = caption(int(table["count"].sum()), "Shares of the admissions of one decade of age sum to 100 %.")
    return heat_maps.shares_by_decade(table, title=title, caption=note), table


def _decade_lines(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    note = caption(int(table["count"].sum()), "Bands: Wilson's 95 % intervals, each decade on its own.")
    return lines.share_by_decade(table, title=title, caption=note), table


def _hospitals(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    table = table.assign(centre=finding.tables["hospital_funnel"]["centre"].iloc[0])
    volume = int(finding.tables["funnel_limits"]["n"].min())
    note = (
        f"{len(table):,} hospitals of {volume:,} admissions or more. Means shrunken towards the mean of "
        "all, the more so the fewer the admissions; all are equal where no variance between hospitals is found."
    )
    return hospital_bills(table, title=title, caption=caption(int(table["n"].sum()), note)), table


def _funnel(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    limits = finding.tables["funnel_limits"].assign(layer="limit")
    both = pd.concat([table.assign(layer="hospital"), limits], ignore_index=True)
    note = (
        f"{len(table):,} hospitals. Of those that differ by luck alone, 5 % leave the inner and 0.2 % the outer limits."
    )
    return hospital_funnel(both, title=title, caption=caption(int(table["n"].sum()), note)), both


def _insurers(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    note = caption(int(table["n"].sum()), f"{_BARS}, each insurer on its own.")
    measure = ("Mean bill", "currency")
    return means(table, title=title, caption=note, group="insurer", measure=measure), table


def _medications(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    note = caption(int(table["n"].sum()), f"{_BARS}, each medication on its own.")
    measure = ("Mean length of stay", "days")
    return means(table, title=title, caption=note, group="medication", measure=measure), table


def _names(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    pairs = next((item.n for item in finding.evidence if item.unit == "share of pairs"), 0)
    note = caption(
        pairs,
        "A name stands for a person where its admissions agree more often than chance.",
        noun="pairs of admissions of one name",
    )
    return agreement(table, title=title, caption=note), table


def _months(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    smallest = next((item.smallest_effect for item in finding.evidence if item.role == "primary"), None)
    note = caption(
        int(table["n"].sum()), "Bands: 95 % intervals, each month on its own; where they leave the panel they are cut."
    )
    return lines.stay_by_month(table, title=title, caption=note, smallest=smallest), table


def _distribution(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    note = caption(int(table["n"].sum()), "Stays in whole days.")
    return lines.stay_distribution(table, title=title, caption=note), table


def _care(_: Finding, table: pd.DataFrame, title: str) -> Drawn:
    n = int(table.drop_duplicates(["outcome", "insurer"]).groupby("outcome")["n"].sum().max())
    note = (
        "Share of the insurer's admissions, and below it the adjusted residual within condition and age band: by chance, "
        f"1 cell in 20 lies beyond ±2. {_STAR}"
    )
    return heat_maps.residuals_by_insurer(table, title=title, caption=caption(n, note)), table


def _balance(finding: Finding, table: pd.DataFrame, title: str) -> Drawn:
    zone = next(
        (float(item.detail["flagged_from"]) for item in finding.evidence if "flagged_from" in item.detail), None
    )
    n = int(table.drop_duplicates("insurer")["n"].sum())
    note = "Each insurer against all others, in standard deviations, condition and age not held fixed."
    return balance(table, title=title, caption=caption(n, note), zone=zone), table


_PICTURES = (
    _Picture(
        "evidence",
        "forest",
        "Forest plot of the estimates with 95 % intervals, beside the zone too small to matter",
        _evidence,
    ),
    _Picture(
        "condition_forest",
        "conditions",
        "Forest plot of the difference of shares between old and young, by condition",
        _conditions_by_age,
    ),
    _Picture(
        "share_by_decade",
        "heat_map",
        "Heat map of the share of admissions of each condition, by decade of age",
        _decade_map,
    ),
    _Picture(
        "share_by_decade",
        "decades",
        "Line graphs of the share of admissions of each condition over the decades of age, with intervals",
        _decade_lines,
    ),
    _Picture(
        "hospital_effects",
        "hospitals",
        "Bar chart of the shrunken mean bill of each hospital, with the mean as recorded",
        _hospitals,
    ),
    _Picture(
        "hospital_funnel",
        "funnel",
        "Funnel plot of the mean bill of each hospital against its admissions, with the limits of chance",
        _funnel,
    ),
    _Picture("insurer_means", "insurers", "Bar chart of the mean bill by insurer, with intervals", _insurers),
    _Picture(
        "stay_by_condition",
        "by_condition",
        "Forest plot of how much longer emergency admissions stay, by condition",
        _stays_by_condition,
    ),
    _Picture(
        "stay_by_month",
        "months",
        "Line graphs of the mean length of stay by month of admission, one per admission type, with intervals",
        _months,
    ),
    _Picture(
        "stay_distribution",
        "distribution",
        "Bar charts of the distribution of lengths of stay, one per admission type, with means",
        _distribution,
    ),
    _Picture(
        "stay_by_medication",
        "stays",
        "Bar chart of the mean length of stay by medication, with intervals",
        _medications,
    ),
    _Picture(
        "identity",
        "names",
        "Bar chart of how often two admissions of one name agree, beside any two admissions",
        _names,
    ),
    _Picture(
        "payer_care",
        "care",
        "Heat map of the care recorded for the patients of each insurer, with adjusted residuals",
        _care,
    ),
    _Picture(
        "payer_balance",
        "balance",
        "Love plot of the standardised differences between each insurer and the rest",
        _balance,
    ),
)
