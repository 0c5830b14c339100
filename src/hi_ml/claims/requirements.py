"""What must be there before a part of a claim can be tested?

What says so raises `Untestable` with its reason, and else nothing; ``has`` and ``large_levels`` do not raise.
"""

from collections.abc import Sequence

import pandas as pd

from hi_ml.app.errors import Untestable


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
            words = f"the column for {role} holds no value" if role in frame else f"the table has no column for {role}"
            raise Untestable("COLUMN_MISSING", words, f"columns.{role}.from")


def require_declared(levels: Sequence[str], words: str, key: str) -> None:
    """Ask for a declaration of the dataset, which ``key`` would make."""
    if not levels:
        raise Untestable("NO_MAPPING", words, key)


def too_few(there: str, needed: str) -> Untestable:
    """Say how many there are and how many are needed."""
    return Untestable("TOO_FEW", f"there are {there}, and {needed} are needed")


def constant(what: str) -> Untestable:
    """Say what does not vary."""
    return Untestable("CONSTANT", f"{what} does not vary")


def require_sizes(sizes: "pd.Series[int]", smallest: int) -> None:
    """Ask for a smallest number of admissions in each group that is compared.

    Parameters
    ----------
    sizes : Series of int
        Admissions, by the group's name; at least one group.
    """
    if sizes.min() < smallest:
        there = ", ".join(f"{n:,} {name}" for name, n in sizes.items())
        raise too_few(f"{there} admissions", f"{smallest} of each")


def large_levels(frame: pd.DataFrame, role: str, smallest: int) -> pd.DataFrame:
    """Keep the rows whose level of a category has so many rows or more.

    Parameters
    ----------
    role : str
        A column of `frame`.
    """
    sizes = frame[role].value_counts()
    return frame[frame[role].isin(sizes.index[sizes >= smallest])]
