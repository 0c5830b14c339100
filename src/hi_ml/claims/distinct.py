"""One row per admission, with its patient: what every finding starts from, and what the dataset declares of words."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hi_ml.claims.aggregates import TIMES, UNIT, admissions_in, each_admission, sizes_of, sums
from hi_ml.claims.requirements import UNFIT
from hi_ml.data.duplicates import TELLING, Twins, groups, people
from hi_ml.scorer.serving import comparable
from hi_ml.statistics.estimates import Integers
from hi_ml.statistics.linkage import People

PATIENTS, HOSPITALS = "patients", "hospitals"
MOST_LEVELS = 50  # of a category that are told apart where every pair of levels is compared, or each level is shown
WORDS = ("sex", "blood_type", "condition", "disposition", "hospital", "insurer", "admission_type", "medication")
AMOUNTS = ("age", "length_of_stay", "billed")


class Rows(Protocol):
    """The admissions of a table, wherever it lies: the one door to them."""

    @property
    def roles(self) -> Sequence[str]:
        """The columns that there are, by role."""

    @property
    def narrow(self) -> bool:
        """Whether only a few columns can be taken at once."""

    def take(self, roles: Sequence[str]) -> pd.DataFrame:
        """Take those of some columns that there are, and `UNIT` where a patient has several rows.

        A row may stand for several admissions that agree in them; then `TIMES` says for how many.
        """

    def sums(self, keys: Sequence[str], value: str) -> pd.DataFrame:
        """Count and sum a column of numbers, as `hi_ml.claims.aggregates.sums` of what `take` returns."""


@dataclass(frozen=True)
class LocalRows:
    """Admissions in memory, a row each."""

    frame: pd.DataFrame
    narrow: bool = False

    @property
    def roles(self) -> Sequence[str]:
        """See `Rows`."""
        return [str(role) for role in self.frame if role != UNIT]

    def take(self, roles: Sequence[str]) -> pd.DataFrame:
        """See `Rows`."""
        return self.frame[[role for role in dict.fromkeys([*roles, UNIT]) if role in self.frame]]

    def sums(self, keys: Sequence[str], value: str) -> pd.DataFrame:
        """See `Rows`."""
        return sums(self.frame, keys, value)


@dataclass(frozen=True)
class RowsByHospital:
    """Admissions whose units of inference are the hospitals."""

    rows: Rows

    @property
    def roles(self) -> Sequence[str]:
        """See `Rows`."""
        return self.rows.roles

    @property
    def narrow(self) -> bool:
        """See `Rows`."""
        return self.rows.narrow

    def take(self, roles: Sequence[str]) -> pd.DataFrame:
        """See `Rows`."""
        frame = _by_hospital(self.rows.take([*roles, "hospital"]))
        return frame if "hospital" in roles else frame.drop(columns="hospital")

    def sums(self, keys: Sequence[str], value: str) -> pd.DataFrame:
        """See `Rows`."""
        return sums(self.take([*keys, value]), keys, value)


@dataclass(frozen=True)
class DistinctAdmissions:
    """A table ready for inference."""

    # one row per admission, columns by role, the first copy kept; where a patient has several rows, they are numbered
    # in the column `UNIT`
    first: Rows
    # the same admissions, the last copy kept: where copies differ, nobody knows which is the original
    last: Rows
    copies: int  # rows that were left out as near-duplicates
    declarations: Mapping[str, Sequence[str]]  # what the dataset's YAML says of its own categories, in any case
    seed: int
    units: str = PATIENTS  # what the column `UNIT` numbers
    units_of_columns: Mapping[str, str] = field(default_factory=dict)  # by role, as the dataset says: days, mg
    levels: Mapping[str, str] = field(default_factory=dict)  # by role of a joined column, the unit that it belongs to

    def by(self, role: str) -> "DistinctAdmissions":
        """Take the units that a comparison by this column has: hospitals, if it never differs within one.

        A column that belongs to the hospital says as much as there are hospitals, however many patients they have, and
        whether or not patients go from one to another.
        """
        declared = self.levels.get(role) == "hospital" and "hospital" in self.first.roles
        if not declared and not _of_hospitals(self.first, role):
            return self
        return replace(self, first=RowsByHospital(self.first), last=RowsByHospital(self.last), units=HOSPITALS)

    def take(self, *roles: str) -> pd.DataFrame:
        """Take those of some columns that there are, see `Rows`."""
        return self.first.take(roles)

    @property
    def rows(self) -> pd.DataFrame:
        """All columns, a row an admission."""
        return each_admission(self.first.take(self.first.roles))

    def rng(self, purpose: str) -> np.random.Generator:
        """Give a stream of random numbers of its own to each purpose, whatever else runs."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(purpose.encode()),)))


def one_row_each(
    frame: pd.DataFrame,
    twins: ArrayLike,
    *,
    declarations: Mapping[str, Sequence[str]] | None = None,
    units_of_columns: Mapping[str, str] | None = None,
    levels: Mapping[str, str] | None = None,
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
        Keep every row, each as an admission of another patient, to show what would have been claimed. Never a result.

    Returns
    -------
    DistinctAdmissions
        With rows in their old order and a fresh index.
    """
    categories = frame.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes]]
    frame = as_claims_take_it(_without_codes_of_missing(frame.astype(dict.fromkeys(categories, "str"))))
    twin = np.asarray(twins, dtype=np.int64)
    alone = np.where(twin < 0, twin.max(initial=0) + 1 + np.arange(len(twin)), twin)
    group = pd.Series(alone)
    said = partial(
        DistinctAdmissions,
        declarations=declarations or {},
        seed=seed,
        units_of_columns=units_of_columns or {},
        levels=levels or {},
    )
    if keep_duplicates:
        every = LocalRows(frame.reset_index(drop=True))
        return said(every, every, 0)
    patient = _patients(frame, alone, seed)
    kept = (~group.duplicated(keep=keep).to_numpy() for keep in ("first", "last"))
    first, last = (LocalRows(_numbered(frame[rows], patient[rows])) for rows in kept)
    return said(first, last, len(frame) - len(first.frame))


def as_claims_take_it(frame: pd.DataFrame) -> pd.DataFrame:
    """Make words of what claims take for categories, and leave out, with a note, an amount that is none."""
    words = [role for role in WORDS if role in frame and not pd.api.types.is_string_dtype(frame[role])]
    texts = {role: frame[role].map(lambda cell: comparable(str(cell)), na_action="ignore") for role in words}
    frame = frame.assign(**{role: text.astype("str") for role, text in texts.items()})
    amounts = [role for role in AMOUNTS if role in frame and frame[role].notna().any()]
    unfit = [role for role in amounts if not pd.api.types.is_numeric_dtype(frame[role])]
    kinds = {role: "date" if pd.api.types.is_datetime64_any_dtype(frame[role]) else "category" for role in unfit}
    frame = frame.drop(columns=unfit)
    frame.attrs[UNFIT] = kinds
    return frame


def _numbered(frame: pd.DataFrame, patient: Integers) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    return frame.assign(**{UNIT: patient}) if len(np.unique(patient)) < len(patient) else frame


def _patients(frame: pd.DataFrame, twin: Integers, seed: int) -> Integers:
    """Number the patients, near-duplicates joined, as training does."""
    number = frame["patient_id"].to_numpy(dtype=np.int64) if "patient_id" in frame else None
    persons = persons_of(frame) if number is None and len(frame) else None
    return groups(Twins(twin, {}, ()), persons, number, seed=seed)[0]


def persons_of(rows: pd.DataFrame) -> People | None:
    """Collect what could tell people of one name apart; None where a column for that is absent."""
    if any(role not in rows for role in TELLING):
        return None
    codes = {role: pd.factorize(rows[role])[0] for role in ("sex", "blood_type")}
    return people({role: codes.get(role, rows[role]) for role in TELLING})


def _of_hospitals(rows: Rows, role: str) -> bool:
    if not {"hospital", role} <= set(rows.roles):
        return False
    known = rows.take(["hospital", role]).dropna(subset=["hospital", role])
    pairs = known[list(dict.fromkeys(["hospital", role]))].drop_duplicates()
    one_level_each = not pairs["hospital"].duplicated().any()
    return one_level_each and len(pairs) < admissions_in(known) and len(pairs[role].unique()) > 1


def _by_hospital(rows: pd.DataFrame) -> pd.DataFrame:
    if TIMES in rows and (nowhere := rows["hospital"].isna()).any():
        rows = pd.concat([rows[~nowhere], each_admission(rows[nowhere]).assign(**{TIMES: 1})], ignore_index=True)
    code, levels = pd.factorize(rows["hospital"])
    return rows.assign(**{UNIT: np.where(code < 0, len(levels) + np.arange(len(rows)), code)})


def _without_codes_of_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the missing hospital names missing, where names come as codes."""
    name = "hospital_as_written"
    if name not in frame or not pd.api.types.is_integer_dtype(frame[name]):
        return frame
    return frame.assign(**{name: frame[name].astype("Int64").where(frame[name] >= 0)})


def is_number(column: "pd.Series[Any]") -> bool:
    """Tell whether the cells of a column are numbers; true and false are words."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def as_words(column: "pd.Series[Any]") -> "pd.Series[str]":
    """Write the cells of any column as words, whole numbers without a point; missing stays missing.

    Examples
    --------
    >>> as_words(pd.Series([1.0, 2.5, None])).tolist()
    ['1', '2.5', nan]
    """
    if not is_number(column):
        return column.astype("str")
    codes, numbers = pd.factorize(column)
    words = np.array([*(f"{number:.15g}" for number in numbers), None], dtype=object)
    return pd.Series(words[codes], column.index, dtype="str")


def commonest(frame: pd.DataFrame, role: str, most: int = MOST_LEVELS) -> "pd.Series[str]":
    """Keep the commonest words of a column as they are, and take all others together.

    Examples
    --------
    >>> commonest(pd.DataFrame({"ward": ["a", "b", "a", "c"]}), "ward", 2).tolist()
    ['a', 'all others', 'a', 'all others']
    >>> commonest(pd.DataFrame({"code": [2, 2, 10, 3]}), "code", 2).tolist()
    ['2', '2', 'all others', 'all others']
    """
    words = frame[role]
    sizes = sizes_of(words, frame)
    if len(sizes) <= most:
        return words
    kept = words.isin(sizes.index[: most - 1]) | words.isna()
    return words.map(str, na_action="ignore").where(kept, "all others")  # dates and numbers have an order of their own


def among(labels: "pd.Series[str]", words: Sequence[str]) -> "pd.Series[bool]":
    """Mark the rows whose label is one of the words, in any case; a whole number is its words, with a point or not.

    Examples
    --------
    >>> among(pd.Series(["Cancer", "asthma", None]), ["ASTHMA"]).tolist()
    [False, True, False]
    """
    wanted = {_folded(word) for word in words}
    return labels.isin([level for level in labels.dropna().unique() if _folded(level) in wanted])


def _folded(word: object) -> str:
    return re.sub(r"(?<=\d)\.0+$", "", str(word).strip().casefold())
