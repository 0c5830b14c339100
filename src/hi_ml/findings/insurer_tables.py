"""Which care do the patients of each insurer get more or less of? The tables of the charts."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from hi_ml.findings.aggregates import counts, crosstab, cube, moments_of, sums
from hi_ml.findings.gates import lacking
from hi_ml.findings.stay_screen import age_band
from hi_ml.statistics.contingency import association, can_vary
from hi_ml.statistics.effect import Margin
from hi_ml.statistics.means import comparable, standardised_difference
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.multiplicity import discoveries

CASE_MIX = ("condition", "sex", "blood_type")
CARE_COLUMNS = ["outcome", "insurer", "level", "n", "count", "share", "expected", "residual"]


def stratified(rows: pd.DataFrame, age_bands: Sequence[float]) -> pd.DataFrame:
    """Add `stratum`: condition and age band, as far as the table has them; missing where either is.

    Parameters
    ----------
    rows : DataFrame
        Columns by role.
    age_bands : sequence of float
        Ages, in years, at which a band begins.
    """
    stratum = pd.Series("all", index=rows.index, dtype="str")
    if lacking(rows, ["condition"], "") is None:
        stratum = rows["condition"].astype("str")
    if lacking(rows, ["age"], "") is None:
        stratum = stratum + ", " + age_band(rows["age"], age_bands)
    return rows.assign(stratum=stratum)


def care_residuals(rows: pd.DataFrame, roles: Sequence[str]) -> pd.DataFrame:
    """Set the care of each insurer's patients against what care blind to insurers would give within each stratum.

    Parameters
    ----------
    rows : DataFrame
        From `stratified`.
    roles : sequence of str
        Categories of care.

    Returns
    -------
    DataFrame
        `outcome, insurer, level, n` (admissions of the insurer), `count, share, expected` (share, given the strata),
        `residual` (adjusted: standard normal without any association), `p_value, discovery` (Benjamini-Hochberg over
        all cells).
    """
    parts = [part for role in roles for part in _residuals(rows, role)]
    cells = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CARE_COLUMNS, dtype="float64")
    p_value = 2 * norm.sf(cells["residual"].abs().to_numpy(dtype=np.float64))
    return cells.assign(p_value=p_value, discovery=discoveries(p_value))


def standardised_differences(rows: pd.DataFrame, care: Sequence[str]) -> pd.DataFrame:
    """Compare each insurer with the rest, in standard deviations, on its patients' care and on who they are.

    Parameters
    ----------
    rows : DataFrame
        With `insurer`; what of care, stay, age and case mix is there is compared.
    care : sequence of str
        Categories of care.

    Returns
    -------
    DataFrame
        `insurer, kind` (`care` or `case mix`), `variable, level` (empty for a number), `difference` (of means or
        shares over the root mean variance), `n` (admissions of the insurer).
    """
    mix = [role for role in CASE_MIX if lacking(rows, [role], "") is None]
    tables = [
        *(part for role in care for part in _share_differences(rows, role, "care")),
        *_mean_difference(rows, "length_of_stay", "care"),
        *(part for role in mix for part in _share_differences(rows, role, "case mix")),
        *_mean_difference(rows, "age", "case mix"),
    ]
    columns = ["insurer", "kind", "variable", "level", "difference", "n"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _residuals(rows: pd.DataFrame, role: str) -> Iterator[pd.DataFrame]:
    table = counts(rows, ["stratum", "insurer", role])
    cells = cube(table, ("insurer", role))
    if not can_vary(cells):
        return
    found, seen = association(cells, margin=Margin(1.0)), crosstab(table, ("insurer", role))
    n = np.repeat(seen.sum(axis=1).to_numpy(), seen.shape[1])
    places = seen.index.repeat(seen.shape[1]), np.tile(seen.columns, len(seen))
    count, expected = seen.to_numpy().ravel(), found.expected.ravel() / n
    yield pd.DataFrame(
        dict(zip(CARE_COLUMNS, (role, *places, n, count, count / n, expected, found.residuals.ravel()), strict=True))
    ).astype({"n": "int64", "count": "int64"})


def _share_differences(rows: pd.DataFrame, role: str, kind: str) -> Iterator[pd.DataFrame]:
    seen = crosstab(counts(rows, ["insurer", role]), ("insurer", role))
    n = seen.sum(axis=1).to_numpy()
    for level in seen.columns:
        count = seen[level].to_numpy()
        yield from _against_rest(seen.index, Moments(n, count, count), (kind, role, str(level)))


def _mean_difference(rows: pd.DataFrame, role: str, kind: str) -> Iterator[pd.DataFrame]:
    if lacking(rows, [role], "") is None:
        table = sums(rows, ["insurer"], role)
        yield from _against_rest(table.index, moments_of(table), (kind, role, ""))


def _against_rest(insurers: pd.Index, groups: Moments, what: tuple[str, str, str]) -> Iterator[pd.DataFrame]:
    rest = groups.pooled([np.arange(groups.n.size)] * groups.n.size).less(groups)
    usable = comparable(groups, rest, 2)
    difference = standardised_difference(groups.at(usable), rest.at(usable))
    named = dict(zip(("kind", "variable", "level"), what, strict=True))
    yield pd.DataFrame(
        {"insurer": insurers[usable], "difference": difference, "n": groups.n[usable].astype(np.int64)}
    ).assign(**named)
