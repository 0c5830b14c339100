"""One row per admission: what every finding starts from, with what the dataset declares about its words."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class DistinctAdmissions:
    """A table ready for inference."""

    rows: pd.DataFrame  # one row per admission, columns by role, the first copy kept
    # the same admissions, the last copy kept: where copies differ, nobody knows which is the original
    last: pd.DataFrame
    copies: int  # rows that were left out as near-duplicates
    declarations: Mapping[str, Sequence[str]]  # what the dataset's YAML says of its own categories, in any case
    seed: int

    def rng(self, purpose: str) -> np.random.Generator:
        """Give a stream of random numbers of its own to each purpose, whatever else runs."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(purpose.encode()),)))


def one_row_each(
    frame: pd.DataFrame,
    twins: ArrayLike,
    *,
    declarations: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    keep_duplicates: bool = False,
) -> DistinctAdmissions:
    """Keep one row per near-duplicate group.

    Parameters
    ----------
    frame : DataFrame
        Columns by role, any of which may be absent: numbers, dates, and categories as words. Private text comes as
        integers, -1 for missing: `patient_name`, `patient_id`; `hospital_as_written` may come either way.
    twins : array of int, shape (n,)
        Near-duplicate group of each row; rows of a negative group are alone.
    seed : int
        Of everything random in the findings.
    keep_duplicates : bool
        Keep every row, to show what would have been claimed. Never a result.

    Returns
    -------
    DistinctAdmissions
        With rows in their old order and a fresh index.
    """
    categories = frame.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes]]
    frame = _without_codes_of_missing(frame.astype(dict.fromkeys(categories, "str")))
    group = pd.Series(np.asarray(twins))
    declared = declarations or {}
    if keep_duplicates:
        every = frame.reset_index(drop=True)
        return DistinctAdmissions(every, every, 0, declared, seed)
    alone = (group < 0).to_numpy()
    first, last = (frame[alone | ~group.duplicated(keep=keep).to_numpy()] for keep in ("first", "last"))
    copies = len(frame) - len(first)
    return DistinctAdmissions(first.reset_index(drop=True), last.reset_index(drop=True), copies, declared, seed)


def _without_codes_of_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the missing hospital names missing, where names come as codes."""
    name = "hospital_as_written"
    if name not in frame or not pd.api.types.is_integer_dtype(frame[name]):
        return frame
    return frame.assign(**{name: frame[name].astype("Int64").where(frame[name] >= 0)})


def among(labels: "pd.Series[str]", words: Sequence[str]) -> "pd.Series[bool]":
    """Mark the rows whose label is one of the words, in any case.

    Examples
    --------
    >>> among(pd.Series(["Cancer", "asthma", None]), ["ASTHMA"]).tolist()
    [False, True, False]
    """
    wanted = {word.strip().casefold() for word in words}
    levels = [level for level in labels.dropna().unique() if str(level).strip().casefold() in wanted]
    return labels.isin(levels)
