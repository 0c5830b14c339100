"""Admissions that are made of a standard's folder at once, and what the stays of a person say of each other."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.data.sources.pieces import NO_ROWS, Piece

Moments = NDArray[np.datetime64]  # datetime64[us], NaT where unknown
_DAY = np.timedelta64(1, "D")
_SOON = 30  # days


class DerivedSource(ABC):
    """What a source is to those who read it, when its rows are made at once: `hi_ml.data.sources.pieces.Source`."""

    @property
    @abstractmethod
    def table(self) -> pa.Table:
        """The admissions, in order."""

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self.table.schema

    @property
    def rows(self) -> int:
        """How many admissions there are."""
        return len(self.table)

    def pieces(self, columns: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Return all rows at once, or none."""
        if after < self.rows:
            yield Piece(self.table.select(columns), np.arange(1, self.rows + 1), NO_ROWS)


def history(person: NDArray[np.int64], start: Moments, end: Moments, followed: Moments) -> dict[str, pa.Array]:
    """Compare each stay with the one before and the one after.

    Parameters
    ----------
    person : array of int64, shape (n,)
        Sorted; the stays of one by their start.
    followed : array of datetime64, shape (n,)
        Until when a next stay would have been seen.

    Returns
    -------
    dict of str to pyarrow.Array, shape (n,)
        ``earlier_admissions``; ``days_since_discharge``, null where there is no earlier one or it has not ended;
        ``readmitted``: <30, >30 or NO, as days went by until the next stay, null where nobody can tell.
    """
    first = np.r_[True, person[1:] != person[:-1]][: len(person)]
    place = np.arange(len(person))
    earlier = place - np.maximum.accumulate(np.where(first, place, 0))
    since = np.full(len(person), np.nan)
    since[1:] = (start[1:] - end[:-1]) / _DAY
    since[first] = np.nan
    until = np.full(len(person), np.nan)
    until[:-1] = np.where(first[1:], np.nan, since[1:])
    last = np.r_[first[1:], True][: len(person)]
    unseen = last & ~((followed - end) / _DAY >= _SOON)
    words = np.select([until < 0, until < _SOON, until >= _SOON, last & ~unseen], ["", "<30", ">30", "NO"], "")
    return {
        "earlier_admissions": pa.array(earlier),
        "days_since_discharge": pa.array(np.where(since < 0, np.nan, since), from_pandas=True),
        "readmitted": pa.array(words, mask=words == ""),
    }


def age(born: Moments, start: Moments) -> pa.Array:
    """Count the whole years from birth to the start of a stay."""
    born_month, start_month = (moment.astype("datetime64[M]").astype(float) for moment in (born, start))
    born_day, start_day = ((moment - moment.astype("datetime64[M]")) / _DAY for moment in (born, start))
    known = ~(np.isnat(born) | np.isnat(start))
    years = (start_month - born_month - (start_day < born_day)) // 12
    return pa.array(np.where(known, years, np.nan), from_pandas=True)
