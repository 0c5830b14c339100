"""A table becomes admissions: typed, checked, cleaned, grouped; what is private stays here."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hi_ml.app.references import as_written
from hi_ml.data.attrition import KEPT, LeftOut, steps_of
from hi_ml.data.clean import cell_codes, folded, one_spelling
from hi_ml.data.column import Column, Kind
from hi_ml.data.columns import seen_in, take_kinds
from hi_ml.data.digests import column_digest, content_digests, table_digest
from hi_ml.data.duplicates import TELLING, Twins, groups, impersonal, near_duplicates, people
from hi_ml.data.joins import join
from hi_ml.data.plausibility import doubts
from hi_ml.data.privacy import PrivateWords, refuse_own_names
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.table import load
from hi_ml.data.validate import JOINT, check_share, quarantine, set_aside
from hi_ml.scorer.serving import band_ends, key, stays
from hi_ml.statistics.linkage import People

log = logging.getLogger("hi_ml")
_NOBODY = (
    "One value of patient_id stands for {rows:,} of {n:,} rows that are not one person's: it counts as no identity. "
    "Add it to dataset.missing, the words for missing."
)
_EXCUSED = "%s private values are also names of organisations, and are not looked for in what a run leaves"


@dataclass(frozen=True)
class Admissions:
    """A dataset, read."""

    dataset: Dataset
    # shape (n, n_roles); the columns that are not private, by role: float64, datetime64 or category; with
    # ``length_of_stay`` in days
    table: pd.DataFrame
    row: NDArray[np.int64]  # int64, shape (n,); number in the source, 1 = first data row
    # uint64, shape (n,); digests of all cells of each row, private ones too. Never written anywhere
    content: NDArray[np.uint64]
    twins: Twins  # near-duplicate groups
    # int64, shape (n,); rows that must stay together: near-duplicates and the admissions of one patient
    group: NDArray[np.int64]
    identity: str  # how patients are told apart, see `hi_ml.data.duplicates.groups`
    # int64, shape (n,); numbers for text that stays in the reader, -1 where missing: ``patient_name``,
    # ``patient_id``, and ``<role>_as_written`` of a column whose words were put in order
    coded: dict[str, NDArray[np.int64]]
    rejected: pd.DataFrame  # ``row, column, value, rule`` of every cell that could not be read
    counts: dict[str, int]  # rows read and rejected, spellings merged, values flagged
    column_sha256: dict[str, str]  # digest per role, private ones too
    private: frozenset[str]  # text values for the search of private words in results. Never written anywhere
    public: frozenset[str]  # of columns of organisations, in which such a value is excused
    # by location the digest of each source, and by name what was joined; ready for JSON
    sources: dict[str, str] = field(default_factory=dict)
    joins: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: tuple[str, ...] = ()  # columns of the source that the dataset does not describe
    warnings: tuple[str, ...] = ()  # what can be read and should not be believed
    left_out: LeftOut | None = None  # rows that the dataset's rules leave out
    # shape (n_aside, n_roles); the public columns of the rows that could not be read, or not be believed
    aside: pd.DataFrame = field(default_factory=pd.DataFrame)
    # bool, shape (n,), by role of a column with top codes: whether the value is "so many or more"
    topped: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)  # that were taken from the values, by role

    @property
    def sha256(self) -> str:
        """Digest of every cell."""
        return table_digest(self.column_sha256, self.content)

    @property
    def origin(self) -> str:
        """Where the table came from, in a word."""
        return self.dataset.origin

    @property
    def by_content(self) -> NDArray[np.int64]:
        """The positions of the rows in the order of what they hold, which is not that of the source.

        A table is a set of rows: taken in this order, they give the same splits, models and numbers from any source.
        """
        return np.argsort(self.content, kind="stable")

    def private_words(self) -> PrivateWords:
        """Collect what no file may hold, and say how many of them are not looked for."""
        words = PrivateWords.of(self.private, self.public)
        if words.excused:
            log.info(_EXCUSED, f"{words.excused:,}")
        return words

    def provenance(self) -> dict[str, Any]:
        """Say which data were read and what was found wrong with them, ready for JSON."""
        sizes = np.bincount(self.twins.group)
        return {
            "sha256": self.sha256,
            "column_sha256": self.column_sha256,
            "sources": [
                {"source": as_written(location), "sha256": sha256} for location, sha256 in self.sources.items()
            ],
            **({"joins": self.joins} if self.joins else {}),
            **self.counts,
            "duplicate_groups": int((sizes > 1).sum()),
            "duplicate_pairs": int((sizes * (sizes - 1) // 2).sum()),
            "duplicates_differ_in": {name or "(nothing)": count for name, count in self.twins.differ.items()},
            "patients_told_apart_by": self.identity,
            **({"left_out": self.left_out.rows()} if self.left_out else {}),
            **({"kinds_taken": dict(self.kinds)} if self.kinds else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }


def read(dataset: Dataset, keep_rejected: Callable[[pd.DataFrame], Path]) -> Admissions:
    """Read a dataset from its source, or simulate it where it has none.

    Parameters
    ----------
    keep_rejected : callable
        Writes the table of rejected cells and returns its path; called only if there are any.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no such table.
    TooManyRejected
        If more than ``dataset.max_rejected`` of the rows cannot be read.
    PrivateValueFound
        If a public column holds a private value of its own row.
    """
    dataset, raw, extra, read_from = load(dataset)
    raw, joined = join(raw, dataset)
    dataset, taken = take_kinds(dataset, partial(seen_in, raw.table))
    typed, result = quarantine(raw, dataset)
    doubtful = doubts(raw, dataset, typed)
    if result.rows:
        check_share(dataset, len(raw), result, keep_rejected(result.cells), doubtful.causes)
    row, rows_read = raw.row[result.good], len(raw)
    del raw  # the cells as text take as much memory as all that is made of them
    private = _texts(dataset, typed, private=True)  # of rejected rows too
    aside = _table(dataset, {role: values.filter(pa.array(~result.good)) for role, values in typed.items()})
    typed = {role: values.filter(pa.array(result.good)) for role, values in typed.items()}
    content = content_digests(typed)
    order = np.argsort(content, kind="stable")  # in which groups are looked for
    typed = {role: values.take(pa.array(order)) for role, values in typed.items()}
    row, content = row[order], content[order]
    topped = {role: mask[result.good][order] for role, mask in result.topped.items()}
    digests = {role: column_digest(values) for role, values in typed.items()}
    _refuse_own_names(dataset, typed, row)
    public = _texts(dataset, typed, private=False)
    coded = {
        f"{role}_as_written": _in_order(typed[role]) for role in typed if dataset.columns[role].spelling == "words"
    }
    typed, merged = _one_spelling_each(dataset, typed)
    codes = {role: cell_codes(values) for role, values in typed.items()}
    if (nobody := _nobody(codes, typed)) and "patient_id" in codes:
        codes["patient_id"] = np.where(np.isin(codes["patient_id"], list(nobody)), -1, codes["patient_id"])
    warnings = [_NOBODY.format(rows=rows, n=len(row)) for rows in nobody.values()]
    warnings += [f"{doubt}." for doubt in (*doubtful.causes, *doubtful.warnings)]
    coded |= {role: codes[role] for role in ("patient_name", "patient_id") if role in codes}
    counts = {**merged, **_flagged(dataset, typed, topped)}
    step, whys = steps_of(dataset, typed, codes, row)
    left_out = None
    if whys:
        some = step != KEPT
        gone, patient = _table(dataset, {role: values.filter(pa.array(some)) for role, values in typed.items()}), coded
        nobody_known = np.full(len(step), -1)
        left_out = LeftOut(tuple(whys), step[some], gone, patient.get("patient_id", nobody_known)[some])
        typed = {role: values.filter(pa.array(~some)) for role, values in typed.items()}
        codes, coded, topped = ({role: of[~some] for role, of in each.items()} for each in (codes, coded, topped))
        row, content = row[~some], content[~some]
    twins = near_duplicates({role: codes[role] for role in comparable_roles(dataset, codes, partial(_counts, codes))})
    group, identity = groups(twins, _people(codes, typed), codes.get("patient_id"), seed=dataset.seed)
    admissions = Admissions(
        dataset=dataset,
        table=_table(dataset, typed),
        row=row,
        content=content,
        twins=twins,
        group=group,
        identity=identity,
        coded=coded,
        rejected=result.cells,
        counts={"rows_read": rows_read, "rows_rejected": result.rows, **counts},
        column_sha256=digests,
        private=private,
        public=public,
        sources={location: one.sha256 for location, one in read_from.items()},
        joins=joined,
        extra=extra,
        warnings=tuple(warnings),
        left_out=left_out,
        aside=aside,
        topped=topped,
        kinds=taken,
    )
    pairs = sum(twins.differ.values())
    log.info(
        "read %d admissions, %d rejected, %d near-duplicate pairs, patients: %s",
        len(admissions.row), result.rows, pairs, identity.replace("_", " "),
    )  # fmt: skip
    if taken:
        log.info("kinds taken from the values: %s", "; ".join(_by_kind(taken)))
    for line in (*set_aside(result.cells), *warnings):
        log.warning(line)
    return _in_order_of_source(admissions)


def _in_order_of_source(admissions: Admissions) -> Admissions:
    rows = np.argsort(admissions.row)
    return replace(
        admissions,
        table=admissions.table.take(rows).reset_index(drop=True),
        row=admissions.row[rows],
        content=admissions.content[rows],
        twins=replace(admissions.twins, group=admissions.twins.group[rows]),
        group=admissions.group[rows],
        coded={role: codes[rows] for role, codes in admissions.coded.items()},
        topped={role: mask[rows] for role, mask in admissions.topped.items()},
    )


def _one_spelling_each(dataset: Dataset, typed: Mapping[str, pa.Array]) -> tuple[dict[str, pa.Array], dict[str, int]]:
    """Merge the spellings of every public category, and count those given up."""
    merged, counts = dict(typed), {}
    for role, values in typed.items():
        if pa.types.is_dictionary(values.type) and not dataset.columns[role].private:
            column = dataset.columns[role]
            merged[role], merges = one_spelling(values, column.spelling, order=order_of(column))
            if not column.part:
                counts[f"spellings_merged.{role}"] = merges
    return merged, counts


def order_of(column: Column) -> Callable[[str], Any]:
    """Return by what the categories of a column are sorted: bands by their ends, words by the alphabet."""
    return _lower_end if column.bands else str


def _in_order(values: pa.DictionaryArray) -> NDArray[np.int64]:
    """Number the texts of a column by the alphabet, those that copies share alike; missing is -1."""
    return np.asarray(pd.factorize(folded(values).to_pandas().astype("str"), sort=True)[0], dtype=np.int64)


def _lower_end(band: str) -> tuple[float, float, str]:
    return (*(band_ends(band) or (np.inf, np.inf)), band)


def _flagged(
    dataset: Dataset, typed: Mapping[str, pa.Array], topped: Mapping[str, NDArray[np.bool_]]
) -> dict[str, int]:
    """Count what is kept and worth knowing: numbers below a limit, top codes, codes without label or group."""
    present = dataset.present()
    limits = {role: column.flag_below for role, column in present.items() if column.flag_below is not None}
    counts = {
        f"below_{limit:g}.{role}": int(pc.sum(pc.less(typed[role], limit)).as_py() or 0)
        for role, limit in limits.items()
    }
    counts |= {f"top_coded.{role}": int(mask.sum()) for role, mask in topped.items()}
    for role, column in present.items():
        if isinstance(column.levels, dict) and column.kind == "category" and not column.part:
            labels = {key(label, column.spelling) for label in column.levels.values() if label is not None}
            unknown = [key(text, column.spelling) not in labels for text in typed[role].dictionary.to_pylist()]
            rows = pc.sum(pa.array(unknown, pa.bool_()).take(typed[role].indices)).as_py()
            counts[f"without_label.{role}"] = int(rows or 0)
        if column.part == "group":
            base = typed.get(role.removesuffix("_group"), typed[role])
            counts[f"without_group.{role}"] = typed[role].null_count - base.null_count
    return counts


def _by_kind(kinds: Mapping[str, Kind]) -> Iterator[str]:
    for kind in dict.fromkeys(kinds.values()):
        yield f"{kind}: {', '.join(role for role, of in kinds.items() if of == kind)}"


def _refuse_own_names(dataset: Dataset, typed: Mapping[str, pa.Array], row: NDArray[np.int64]) -> None:
    texts = {role: values for role, values in typed.items() if pa.types.is_dictionary(values.type)}
    columns = {role: dataset.columns[role] for role in texts}
    public = {
        str(column.source): texts[role]
        for role, column in columns.items()
        if not column.private and not column.organisations
    }
    private = [_own_parts(dataset, column, texts[role]) for role, column in columns.items() if column.private]
    refuse_own_names(public, private, row)


def _own_parts(dataset: Dataset, column: Column, values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Leave out of a key of several columns the parts that stand in a public column too: a place is no person."""
    if not isinstance(column.source, tuple):
        return values
    public = {str(other.source) for other in dataset.columns.values() if not other.private}
    places = [place for place, name in enumerate(column.source) if name not in public]
    parts = [(level or "").split(JOINT) for level in values.dictionary.to_pylist()]
    own = pa.array([" ".join(part[place] for place in places if place < len(part)) for part in parts], pa.string())
    return pa.DictionaryArray.from_arrays(values.indices, own)


def _texts(dataset: Dataset, typed: Mapping[str, pa.Array], *, private: bool) -> frozenset[str]:
    """Text that stands in the private columns, or in those of organisations."""
    texts: set[str | None] = set()
    for role, values in typed.items():
        column = dataset.columns[role]
        if pa.types.is_dictionary(values.type) and (column.private if private else column.organisations):
            texts.update(_own_parts(dataset, column, values).unique().dictionary_decode().to_pylist())
    return frozenset(text for text in texts if text is not None)


def _nobody(codes: Mapping[str, NDArray[np.int64]], typed: Mapping[str, pa.Array]) -> dict[int, int]:
    """Count the rows of each patient's identifier that is no patient's."""
    if "patient_id" not in codes:
        return {}
    dates = [typed[role].to_numpy(zero_copy_only=False) for role in ("admitted_on", "discharged_on") if role in typed]
    traits = {role: codes[role] for role in ("sex", "blood_type") if role in codes}
    return impersonal(codes["patient_id"], traits, (dates[0], dates[1]) if len(dates) == 2 else None)  # noqa: PLR2004 -- both


def _people(codes: Mapping[str, NDArray[np.int64]], typed: Mapping[str, pa.Array]) -> People | None:
    """Who the rows could be of; None where a column for that is absent, or age is no number."""
    if not set(codes) >= set(TELLING) or not pa.types.is_floating(typed["age"].type):
        return None
    return people({**codes, **{role: typed[role].to_numpy(zero_copy_only=False) for role in ("age", "admitted_on")}})


def comparable_roles(dataset: Dataset, roles: Iterable[str], counts: Callable[[str], bool]) -> list[str]:
    """List the columns without the identifiers that merely count the rows, and those that another column decides.

    No copy could share the former; a joined column differs where its key does, which would count twice.

    Parameters
    ----------
    counts : callable
        Tells whether the cells of a column are all different.
    """
    every, columns = list(roles), dataset.columns
    counting = {role for role in every if columns[role].part or (columns[role].kind == "identifier" and counts(role))}
    left_out = counting.union(dataset.joined_roles())  # a part tells nothing beside its whole
    return [role for role in every if role not in left_out] or every


def _counts(codes: Mapping[str, NDArray[np.int64]], role: str) -> bool:
    return len(np.unique(codes[role])) == len(codes[role])


def _table(dataset: Dataset, typed: Mapping[str, pa.Array]) -> pd.DataFrame:
    public = {role: values.to_pandas() for role, values in typed.items() if not dataset.columns[role].private}
    computed = stays(typed, [dataset.spec("length_of_stay")]) if dataset.computes_stay() else {}
    return pd.DataFrame(public | {role: values.to_pandas() for role, values in computed.items()})
