"""What must be there before a part of a claim can be tested?"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from hi_ml.claims.finding import Gap


def lacking(frame: pd.DataFrame, roles: Sequence[str], part: str) -> Gap | None:
    """Name the first column that a part needs and the table lacks, or holds no value of.

    Parameters
    ----------
    frame : DataFrame
        Columns by role.
    """
    for role in roles:
        key = f"columns.{role}.from"
        if role not in frame:
            return Gap(part, "COLUMN_MISSING", f"the table has no column for {role}", key)
        if not frame[role].notna().any():
            return Gap(part, "COLUMN_MISSING", f"the column for {role} holds no value", key)
    return None


def for_each(gap: Gap, parts: Iterable[str]) -> tuple[Gap, ...]:
    """Say of several parts that the same is missing."""
    return tuple(replace(gap, part=part) for part in parts)


def too_few(part: str, found: str, needed: str) -> Gap:
    """Say how many there are and how many are needed."""
    return Gap(part, "TOO_FEW", f"there are {found}, and {needed} are needed")


def constant(part: str, what: str) -> Gap:
    """Say what does not vary."""
    return Gap(part, "CONSTANT", f"{what} does not vary")


def unmapped(part: str, words: str, key: str) -> Gap:
    """Say which declaration is missing, or matches nothing."""
    return Gap(part, "NO_MAPPING", words, key)


def small_groups(sizes: "pd.Series[int]", smallest: int, part: str) -> Gap | None:
    """Ask for a smallest number of admissions in each group that is compared.

    Parameters
    ----------
    sizes : Series of int
        Admissions, by the group's name; at least one group.
    """
    if sizes.min() >= smallest:
        return None
    found = ", ".join(f"{n:,} {name}" for name, n in sizes.items())
    return too_few(part, f"{found} admissions", f"{smallest} of each")


def large_levels(frame: pd.DataFrame, role: str, smallest: int) -> pd.DataFrame:
    """Keep the rows whose level of a category has so many rows or more.

    Parameters
    ----------
    role : str
        A column of `frame`.
    """
    sizes = frame[role].value_counts()
    return frame[frame[role].isin(sizes.index[sizes >= smallest])]
