"""What must be there before a part of a claim can be tested?

What says so raises `Untestable` with its reason, and else nothing; ``has`` and ``large_levels`` do not raise.
"""

from collections.abc import Sequence

import pandas as pd

from hi_ml.app.errors import Untestable
from hi_ml.claims.aggregates import UNIT, counts, sizes_of
from hi_ml.statistics.moments import FEWEST_UNITS, Moments

FEWEST_SHOWN, MOST_SHOWN = 10, 8  # rows of a level that a sentence may name, and how many of them
UNFIT = "unfit"  # attribute of a table: the kinds of columns that are none a claim can take, by role


def has(frame: pd.DataFrame, *roles: str) -> bool:
    """Tell whether the table has these columns, with a value in each.

    Parameters
    ----------
    frame : DataFrame
        Columns by role.
    """
    return all(role in frame and bool(frame[role].notna().any()) for role in roles)


def require_columns(frame: pd.DataFrame, *roles: str) -> None:
    """Ask for columns with a value in each; the first that is lacking is named."""
    for role in roles:
        if not has(frame, role):
            if kind := frame.attrs.get(UNFIT, {}).get(role):
                remedy = "number, with bands=true if it holds bands" if role == "age" else "number"
                raise Untestable("COLUMN_MISSING", f"{role} is a {kind}", f"columns.{role}.kind={remedy}")
            words = f"the column for {role} holds no value" if role in frame else f"the table has no column for {role}"
            raise Untestable("COLUMN_MISSING", words, f"columns.{role}.from")


def require_declared(levels: Sequence[str], words: str, key: str) -> None:
    """Ask for a declaration of the dataset, which ``key`` would make."""
    if not levels:
        raise Untestable("NO_MAPPING", words, key)


def no_such_level(role: str, absent: Sequence[str], sizes: "pd.Series[int]", key: str) -> Untestable:
    """Answer a level that is not there, or that the claim does not name, with the commonest that are there.

    Parameters
    ----------
    sizes : Series of int
        Admissions by level, the largest first.
    """
    shown = [str(level) for level in sizes.index[sizes >= FEWEST_SHOWN][:MOST_SHOWN]]
    rest = f" and {len(sizes) - len(shown):,} more" if len(sizes) > len(shown) else ""
    lacking = f"no admission has {role} {' or '.join(absent)}" if absent else f"no level of {role} is named"
    there = (
        f"the levels are {', '.join(shown)}{rest}" if shown else f"it has {len(sizes):,} levels, each too rare to show"
    )
    return Untestable("NO_MAPPING", f"{lacking}; {there}", key)


def too_few(there: str, needed: str) -> Untestable:
    """Say how many there are and how many are needed."""
    return Untestable("TOO_FEW", f"there are {there}, and {needed} are needed")


def constant(what: str) -> Untestable:
    """Say what does not vary."""
    return Untestable("CONSTANT", f"{what} does not vary")


def require_sizes(groups: Moments, names: Sequence[str], smallest: int) -> None:
    """Ask for a smallest number of admissions in each group that is compared, and of patients where they come again.

    Parameters
    ----------
    groups : Moments
        At least one group.
    names : sequence of str
        Of the groups, in front of "admissions".
    """
    asked = [(groups.n, smallest, "admissions")]
    if groups.clusters:
        asked.append((groups.clusters.effective, FEWEST_UNITS, "patients or hospitals of like numbers of admissions"))
    for sizes, least, what in asked:
        if sizes.min() < least:
            there = ", ".join(f"{n:,.0f} {name}" for n, name in zip(sizes, names, strict=True))
            raise too_few(f"{there} {what}", f"{least} of each")


def large_levels(frame: pd.DataFrame, role: str, smallest: int) -> pd.DataFrame:
    """Keep the rows whose level of a category has so many rows or more, and enough patients where they come again.

    Parameters
    ----------
    role : str
        A column of `frame`.
    """
    return frame[frame[role].isin(large_enough(frame, role, smallest))]


def require_two(frame: pd.DataFrame, role: str, smallest: int) -> pd.Index:
    """Ask for two levels of a category that are large enough, and name all that are."""
    large = large_enough(frame, role, smallest)
    if len(large) <= 1:
        patients = f" and {FEWEST_UNITS} patients or hospitals" if UNIT in frame else ""
        raise too_few(f"{len(large)} {role}s of {smallest} admissions{patients} or more", "two")
    return large


def large_enough(frame: pd.DataFrame, role: str, smallest: int) -> pd.Index:
    """Name the levels of a category with so many rows or more, and enough patients where they come again."""
    sizes = sizes_of(frame[role], frame)
    large = sizes.index[sizes >= smallest]
    if UNIT not in frame:
        return large
    n = counts(frame, [role])["n"]
    effective = sizes.astype("float64") ** 2 / (n**2).groupby(level=role, observed=True).sum()
    return large[effective.reindex(large).to_numpy() >= FEWEST_UNITS]
