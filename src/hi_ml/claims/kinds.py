"""What speaks for a difference, an association, a variation or a trend, whichever columns a claim names?"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from hi_ml.app.text import percent
from hi_ml.claims.aggregates import (
    UNIT,
    counts,
    crosstab,
    cube,
    cube_clusters,
    each_admission,
    fill_cells,
    keys_of,
    moments_of,
    over,
    patients,
    sums,
    units_of,
)
from hi_ml.claims.distinct import PATIENTS, commonest
from hi_ml.claims.finding import Detail, Estimand, Evidence
from hi_ml.claims.requirements import constant, require_sizes, too_few
from hi_ml.claims.tails import Draws, Sample, guard, is_heavy
from hi_ml.statistics.contingency import DENSE, Association, association, can_vary, largest_share_gap
from hi_ml.statistics.estimates import POWER, Effect, Integers, Margin
from hi_ml.statistics.means import contrast
from hi_ml.statistics.moments import FEWEST_UNITS, Moments
from hi_ml.statistics.multiplicity import discoveries
from hi_ml.statistics.permutation import permutation_p, separation, unit_permutation_p
from hi_ml.statistics.proportions import difference_of_shares
from hi_ml.statistics.regression import difference_within, slope, wald_statistic, within_strata
from hi_ml.statistics.variance_components import GAP_PER_SD, BetweenGroups, between_groups, pair_icc, smallest_icc

FEWEST_TOLD = 5  # admissions of which a sentence tells a share
CELLS = ["outcome", "level", "n", "count", "share", "expected", "residual"]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a part of a claim asks, however it is estimated."""

    estimand: Estimand
    smallest: Margin  # effect that matters
    smallest_group: int  # admissions needed of each group
    what: str  # is compared, as a sentence says that it does not vary
    directional: bool = True  # whether the claim names the sign

    def evidence(self, effect: Effect, *, detail: Detail | None = None, keeps_level: bool = True) -> Evidence:
        """State the effect that was found."""
        return Evidence.of_effect(
            self.estimand,
            effect,
            self.smallest.size,
            claims_positive=self.directional,
            detail=detail,
            keeps_level=keeps_level,
        )


class Columns(NamedTuple):
    """Which columns of the rows are compared."""

    value: str  # numbers, or zeros and ones
    group: str
    stratum: str | None = None


class Stratified(NamedTuple):
    """Two categories, compared within strata."""

    test: Association
    seen: pd.DataFrame  # admissions by group and level, strata added up
    strata: int
    patients: pd.DataFrame  # by group and level, strata added up: the units of inference that are counted there

    def fact(self) -> str:
        """Say between which two groups the share of which level differs most; nothing where few stand behind it."""
        higher, lower, level, _ = largest_share_gap(self.seen)
        counts = self.seen.iloc[[higher, lower], level].to_numpy()
        if counts.min() < FEWEST_TOLD:
            return ""
        shares = counts / self.seen.iloc[[higher, lower]].sum(axis=1).to_numpy()
        of = [
            f"{percent(share)} % of {self.seen.index[row]}" for share, row in zip(shares, (higher, lower), strict=True)
        ]
        return f"{self.seen.columns[level]}: {of[0]}, {of[1]}"


def difference(
    rows: pd.DataFrame, columns: Columns, asked: Asked, draws: Draws, *, names: Sequence[str], first: bool = True
) -> Evidence:
    """Compare the mean of two groups, or within strata; a share, where the values are zeros and ones.

    Parameters
    ----------
    rows : DataFrame
        The group is a column of bool.
    names : sequence of str
        Of the groups in front of "admissions", the one from which the other is taken first.
    first : bool
        Which group that is.
    """
    value, group, stratum = columns
    rows = rows[rows[value].notna()]
    groups = moments_of(sums(rows, [group], value), pd.Index([first, not first], name=group))
    require_sizes(groups, names, asked.smallest_group)
    if not groups.within.any():
        raise constant(asked.what)
    if stratum is not None:
        return _within(rows, columns, asked, draws, first=first)
    if rows[value].isin([0, 1]).all():
        return asked.evidence(difference_of_shares(groups, margin=asked.smallest))
    effect, rows = contrast(groups, [1, -1], margin=asked.smallest), each_admission(rows)
    sample = Sample(rows[value].to_numpy(dtype=np.float64), rows[group].to_numpy().astype(np.int64), units_of(rows))
    effect, keeps_level = guard(effect, sample, draws)
    return asked.evidence(effect, keeps_level=keeps_level)


def _within(rows: pd.DataFrame, columns: Columns, asked: Asked, draws: Draws, *, first: bool) -> Evidence:
    own = rows.assign(first=(rows[columns.group] == first).astype("int64"))
    table = sums(own, [str(columns.stratum), "first"], columns.value)
    cells = fill_cells(table, ["first"]).index
    effect = difference_within(moments_of(table, cells), margin=asked.smallest)
    if effect is None:
        raise constant(f"{asked.what} between the groups of one stratum")
    sample, free = stratified_sample(own, Columns(columns.value, "first", columns.stratum), cells)
    effect, keeps_level = guard(effect, sample, draws, free=free, statistic=partial(wald_statistic, groups=2))
    return asked.evidence(effect, keeps_level=keeps_level)


def spread_within(rows: pd.DataFrame, columns: Columns, asked: Asked, draws: Draws) -> Evidence:
    """Compare the means of several groups within strata, as Cohen's f."""
    value, group, stratum = columns
    table = sums(rows, [str(stratum), group], value)
    cells = fill_cells(table, [group]).index
    groups = cells.get_level_values(group).nunique()
    effect = within_strata(moments_of(table, cells), groups, margin=asked.smallest)
    if effect is None:
        raise constant(f"{asked.what} within {group}s of one stratum")
    sample, free = stratified_sample(rows, columns, cells)
    effect, keeps_level = guard(effect, sample, draws, free=free, statistic=partial(wald_statistic, groups=groups))
    return asked.evidence(effect, keeps_level=keeps_level)


def stratified_sample(rows: pd.DataFrame, columns: Columns, cells: pd.Index) -> tuple[Sample, float]:
    """Take the values less the mean of their stratum, their cells, and the units of the smallest group less one."""
    value, group, stratum = columns[0], columns[1], str(columns[2])
    complete = each_admission(rows[rows[stratum].notna() & rows[group].notna() & rows[value].notna()])
    centred = complete[value] - complete.groupby(stratum)[value].transform("mean")
    cell = cells.get_indexer(pd.MultiIndex.from_frame(complete[[stratum, group]]))
    by_group = complete.groupby(group)
    units = by_group[UNIT].nunique() if UNIT in complete else by_group.size()
    sample = Sample(centred.to_numpy(dtype=np.float64), cell.astype(np.int64), units_of(complete), len(cells))
    return sample, float(units.min() - 1)


def stratified_association(rows: pd.DataFrame, columns: Columns, margin: Margin, what: str) -> Stratified:
    """Test that two categories, ``value`` and ``group``, go together within strata; of many levels the rare are one."""
    level, group, stratum = columns.value, columns.group, str(columns.stratum)
    if len(rows[stratum].unique()) > 1:  # of one stratum, any number of levels is tested in closed form
        for one, other, least in ((level, group, int(DENSE**0.5)), (group, level, 1)):
            most = max(DENSE // max(rows[other].nunique() - 1, 1), least) + 1
            rows = rows.assign(**{one: commonest(rows, one, most)})
    table, keys = counts(rows, [stratum, group, level]), (group, level)
    if not can_vary(cells := cube(table, keys)):
        raise constant(what)
    test = association(cells, margin=margin, clusters=cube_clusters(table, keys))
    seen, who = (crosstab(one, keys) for one in (table, patients(table, keys).to_frame("n")))
    return Stratified(test, seen, len(cells), who)


def residual_table(tests: dict[str, Stratified], group: str, units: str = PATIENTS) -> pd.DataFrame:
    """Set the levels of each group against what would be seen if they did not depend on it, within each stratum.

    Parameters
    ----------
    tests : dict of str to Stratified
        By outcome, the category that is compared.
    group : str
        Name of the column of groups.
    units : str
        What the units of inference are.

    Returns
    -------
    DataFrame
        `outcome`, the group, `level, n` (admissions of the group), `count, share, expected` (share, given the strata),
        `residual` (adjusted: standard normal without any association), `p_value, discovery` (Benjamini-Hochberg over
        all cells); and `patients` of each, where the units are these.
    """
    named = [CELLS[0], group, *CELLS[1:]]
    parts = [_residuals(outcome, *tested[:2], named) for outcome, tested in tests.items()]
    if units == PATIENTS:
        who = [tested.patients.to_numpy().ravel() for tested in tests.values()]
        parts = [part.assign(patients=own.astype(np.int64)) for part, own in zip(parts, who, strict=True)]
    cells = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=named, dtype="float64")
    p_value = 2 * norm.sf(cells["residual"].abs().to_numpy(dtype=np.float64))
    return cells.assign(p_value=p_value, discovery=discoveries(p_value))


def _residuals(outcome: str, test: Association, seen: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    group, level = seen.index.repeat(seen.shape[1]), np.tile(seen.columns, len(seen))
    n = np.repeat(seen.sum(axis=1).to_numpy(), seen.shape[1])
    count, expected = seen.to_numpy().ravel(), test.expected.ravel() / n
    columns = outcome, group, level, n, count, count / n, expected, test.residuals.ravel()
    return pd.DataFrame(dict(zip(names, columns, strict=True))).astype({"n": "int64", "count": "int64"})


def one_value_a_patient(table: pd.DataFrame) -> Moments:
    """Take one value of each patient: the mean of his values in the group where he was most often.

    Parameters
    ----------
    table : DataFrame
        From `sums`, by group. Where no patient comes again, every value is one.

    Returns
    -------
    Moments
        Per group.
    """
    if UNIT not in table.index.names:
        return moments_of(table)
    most = table.sort_values("n", ascending=False, kind="stable").groupby(level=UNIT).head(1)
    mean = most["total"] / most["n"]
    values = most.assign(n=1.0, total=mean, squares=mean**2, base=most["base"] / most["n"])
    return moments_of(over(values, keys_of(table)))


def require_several(table: pd.DataFrame, names: str, needed: int, what: str) -> None:
    """Ask for two groups of two patients or more, enough admissions in them, and some spread within."""
    groups = one_value_a_patient(table).large_enough(2)
    of_two = "two patients" if UNIT in table.index.names else "two admissions"
    if groups.n.size <= 1:
        raise too_few(f"{groups.n.size} {names} of {of_two} or more", "two")
    if groups.n.sum() < needed:
        raise too_few(f"{groups.n.sum():,.0f} admissions in {names} of two or more", str(needed))
    if not groups.within.any():
        raise constant(f"{what} within {names}")


def variation(
    table: pd.DataFrame, smallest_gap: float, estimand: Estimand, *, power: float = POWER
) -> tuple[BetweenGroups, Evidence]:
    """Estimate the share of the variance of values that lies between groups.

    Groups of one admission, or patient, are left out: they cannot separate within from between.

    Parameters
    ----------
    table : DataFrame
        From `sums`, by group, with two groups of two admissions or more, and some spread within.
    smallest_gap : float
        Average distance of two random groups that matters, as a share of the mean value.
    power : float
        Chance of showing absence that `n_needed` should buy.
    """
    single, patients = moments_of(over(table, keys_of(table))), one_value_a_patient(table)
    together, several = single.together, patients.large_enough(2)
    mean, variance = float(together.mean[0]), float(together.variance[0])
    smallest = smallest_icc(smallest_gap, mean, variance)
    rows = single.large_enough(2) if UNIT in table.index.names else None
    between = between_groups(several, margin=Margin(smallest, power), rows=rows)
    gap, gap_high = (GAP_PER_SD * np.sqrt(icc * variance) for icc in (between.icc.estimate, between.icc.high90))
    detail = {
        "pairs": between.pairs,
        "pair_icc": pair_icc(several, float(patients.together.mean[0]), float(patients.together.variance[0])),
        "typical_gap": float(gap),
        "typical_gap_high90": float(gap_high),
        "p_f_table": between.icc.p_zero,
    }
    return between, Evidence.of_effect(estimand, between.icc, smallest, detail=detail)


def with_permuted_p(evidence: Evidence, rows: pd.DataFrame, columns: Columns, draws: Draws, seed: int) -> Evidence:
    """Replace the p-value of the F table by one that needs no distribution.

    Parameters
    ----------
    evidence : Evidence
        From `variation`.
    rows : DataFrame
        The same.
    """
    complete = each_admission(rows[rows[columns.group].notna() & rows[columns.value].notna()])
    group, _ = pd.factorize(complete[columns.group])
    several = np.bincount(group)[group] > 1
    values, group = complete[columns.value].to_numpy(dtype=np.float64)[several], pd.factorize(group[several])[0]
    units, (permutations, rng) = units_of(complete[several]), draws
    if units is None:
        p_value = permutation_p(values, group, permutations=permutations, rng=rng)
    else:
        p_value = unit_permutation_p(values, group, units, statistic=separation, permutations=permutations, rng=rng)
    drawn = {"permutations": permutations, "seed": seed}
    return dataclasses.replace(evidence, p_support=p_value, detail=dict(evidence.detail) | drawn)


def trend(rows: pd.DataFrame, value: str, along: str, stratum: Integers, asked: Asked, *, falls: bool) -> Evidence:
    """Fit a straight line to a value, or to a share, within strata.

    Parameters
    ----------
    along : str
        The column along which the value rises; of numbers, in the units that the smallest effect is stated per.
    falls : bool
        Whether the claim is that it falls, so that the fall is what is estimated.
    """
    units = units_of(rows)
    there = len(rows) if units is None else len(np.unique(units))
    needed = asked.smallest_group if units is None else FEWEST_UNITS
    if there < needed:
        raise too_few(f"{there:,} {'admissions' if units is None else 'units'}", str(needed))
    y = rows[value].to_numpy(dtype=np.float64)
    x = rows[along].to_numpy(dtype=np.float64)
    effect = slope(x - x.mean(), -y if falls else y, stratum, units, margin=asked.smallest)
    if effect is None:
        raise constant(f"{asked.what}, or what it is claimed to change with,")
    sample = Sample(y, np.zeros(len(y), dtype=np.int64), units)
    share = bool(np.isin(y, (0, 1)).all())
    return asked.evidence(effect, keeps_level=share or not is_heavy(sample, effect.df))
