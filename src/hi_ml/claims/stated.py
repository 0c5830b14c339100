"""What does its owner state of a table? A claim in YAML: a sentence, its kind, its columns, and what would matter."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.claims import kinds
from hi_ml.claims.aggregates import TIMES, UNIT, each_admission, mean_table, sizes_of, sums
from hi_ml.claims.chart import BARS, STAR, Chart
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions, among, as_words, is_number
from hi_ml.claims.finding import FACT, Draft, Estimand, Evidence
from hi_ml.claims.kinds import Asked, Columns
from hi_ml.claims.requirements import constant, large_levels, no_such_level, require_columns, require_two, too_few
from hi_ml.claims.tails import Draws
from hi_ml.statistics.bins import bins
from hi_ml.statistics.estimates import POWER, Margin, joint_power

NOTE = (
    "This claim is its owner's. A difference is no cause: what goes with it, and is not in the strata, may explain it."
)
VALUE, GROUP, STRATUM = "value", "group", "stratum"
QUARTERS = (0.25, 0.5, 0.75)
DAYS_A_YEAR = 365.25


def _listed(words: object) -> object:
    return [words] if isinstance(words, str | int | float) else words


def _worded(words: object) -> object:
    listed = _listed(words)
    return [str(word) for word in listed] if isinstance(listed, list) else listed


Listed = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Levels = Annotated[list[str], BeforeValidator(_worded), Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class StatedClaim:
    """What the YAML says."""

    claim: Annotated[str, Field(min_length=1)]  # the sentence that can be false
    # difference: of numbers or shares, between some levels of a column and all others; association: of two categories;
    # variation: of numbers or shares, between units such as hospitals; trend: of numbers or shares, along a column
    kind: Literal["difference", "association", "variation", "trend"]
    of: Listed  # the columns that are compared, by role; each is a part of the claim
    by: Listed  # those between whose levels, or along which; each makes a part with each of the others
    # that matters: in the unit of `of`, or as a share from 0 to 1; of an association Cohen's w; of a variation the
    # average distance of two units drawn at random; of a trend the change per `per` of `by`
    smallest_effect: PositiveFloat
    levels: dict[str, Levels] = Field(
        default_factory=dict
    )  # by role: those claimed; of a trend along words, their order
    # by role of a column of numbers: where a band begins; a difference takes the last band against all others
    bands: dict[str, Annotated[list[float], Field(min_length=1)]] = Field(default_factory=dict)
    strata: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)  # roles that are held fixed
    direction: Literal["higher", "lower", "either"] = "either"  # of the levels claimed, or along the column
    rule: Literal["all", "any"] = "all"  # whether every part must hold, or one
    per: PositiveFloat = 1.0  # of a trend: 10 for decades of an age in years; years, along dates
    smallest_group: PositiveInt = 30  # admissions needed of each group
    permutations: PositiveInt = 999  # of the patients, where tails are too heavy for a t interval

    def __post_init__(self) -> None:
        """Check what no single key can show to be wrong."""
        if self.kind in ("association", "variation") and self.direction != "either":
            raise ValueError(f"a claim of kind {self.kind} has no direction: leave it out")
        asked = {*self.of, *self.by, *self.strata}
        for key, roles in (("levels", self.levels), ("bands", self.bands)):
            if strange := [role for role in roles if role not in asked]:
                raise ValueError(f"{key} names {strange[0]}, which is none of the claim's columns: {sorted(asked)}")
        if twice := [role for role in self.of if role in self.by] or [role for role in self.strata if role in self.by]:
            raise ValueError(f"{twice[0]} is compared with itself: name another column in of, by or strata")


def stated_claim(name: str) -> Claim:
    """Make a claim of what a YAML of this name says."""
    return Claim(name, StatedClaim, partial(_draft, name))


class _Question(NamedTuple):
    """One column of the claim set against another."""

    of: str
    by: str
    settings: StatedClaim
    admissions: DistinctAdmissions
    key: str  # under which the claim stands in the configuration
    part: str

    @property
    def margin(self) -> Margin:
        parts = len(self.settings.of) * len(self.settings.by)
        return Margin(self.settings.smallest_effect, joint_power(parts) if self.settings.rule == "any" else POWER)

    @property
    def draws(self) -> Draws:
        return Draws(self.settings.permutations, self.admissions.rng(f"{self.key} {self.part}"))

    @property
    def is_share(self) -> bool:
        return self.of in self.settings.levels

    @property
    def unit(self) -> str:
        return "share of admissions" if self.is_share else self.admissions.units_of_columns.get(self.of) or self.of

    @property
    def within(self) -> str:
        held = " and ".join(map(_plain, self.settings.strata))
        return f", within {held}" if held else ""

    @property
    def what(self) -> str:
        of = _plain(self.of)
        return (
            f"share of admissions with {of} {_either(self.settings.levels[self.of])}" if self.is_share else f"mean {of}"
        )


def _draft(name: str, admissions: DistinctAdmissions, settings: StatedClaim) -> Draft:
    pairs = list(product(settings.of, settings.by))
    questions = []
    for of, by in pairs:
        several = len(settings.by) > 1
        part = f"{of} by {by}" if several else of
        questions.append(_Question(of, by, settings, admissions.by(by).by(of), f"findings.{name}", part))
    tables: dict[str, pd.DataFrame] = {}
    charts: list[Chart] = []

    def estimate(question: _Question) -> Iterator[Evidence]:
        evidence, table, chart = ESTIMATES[settings.kind](question, _rows(question))
        tables[question.part] = table
        charts.append(dataclasses.replace(chart, name=_slug(question.part), table=question.part))
        yield evidence

    draft = Draft.of(
        settings.claim,
        settings.rule,
        [(question.part, partial(estimate, question)) for question in questions],
        notes=[NOTE],
    )
    for question in questions:
        draft = draft.in_units(question.admissions.units, question.part)
    return dataclasses.replace(draft, tables=tables, charts=tuple(charts))


def _rows(question: _Question) -> pd.DataFrame:
    """Take the rows that have all that is asked: the stratum of each, as a number, and the patient."""
    settings = question.settings
    rows = question.admissions.take(question.of, question.by, *settings.strata)
    require_columns(rows, question.of, question.by, *settings.strata)
    strata = [_bands(rows, role, settings.bands.get(role)) for role in settings.strata]
    frame = pd.DataFrame({"of": rows[question.of], "by": rows[question.by]})
    complete = frame.notna().all(axis=1)
    for stratum in strata:
        complete &= stratum.notna()
    keys = pd.MultiIndex.from_arrays([stratum[complete] for stratum in strata]) if strata else None
    frame = frame[complete].assign(stratum=0 if keys is None else pd.factorize(keys)[0])
    if frame.empty:
        raise too_few(f"0 admissions with {', '.join([question.of, question.by, *settings.strata])}", "some")
    return frame.assign(**{name: rows.loc[complete, name] for name in (UNIT, TIMES) if name in rows})


def _bands(rows: pd.DataFrame, name: str, begins: list[float] | None) -> "pd.Series[str]":
    """Name the band of each number, quarters where none is given; the year of each date; the words of a category."""
    column = rows[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        return as_words(column.dt.year.astype("float64"))
    if not is_number(column):
        return as_words(column)
    edges = sorted(set(begins or each_admission(rows)[name].quantile(QUARTERS)))
    codes, names = bins(column, edges)
    return pd.Series(np.array([*names, None], dtype=object)[codes], column.index, dtype="str")


def _values(question: _Question, rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the numbers that are compared: those of the column, or 1 for the levels claimed and else 0."""
    column = rows["of"]
    if question.is_share:
        return _claimed(rows, "of", question).astype("float64")
    if is_number(column):
        return column.astype("float64")
    raise _no_level(question, rows, "of", [])


def _no_level(question: _Question, rows: pd.DataFrame, side: str, absent: list[str]) -> Untestable:
    role = getattr(question, side)
    return no_such_level(role, absent, sizes_of(as_words(rows[side]), rows), f"{question.key}.levels.{role}")


def _claimed(rows: pd.DataFrame, side: str, question: _Question) -> "pd.Series[bool]":
    """Mark the rows of the levels that the claim names, all of which must be there."""
    words, named = as_words(rows[side]), question.settings.levels[getattr(question, side)]
    absent = [level for level in named if not among(words, [level]).any()]
    if absent:
        raise _no_level(question, rows, side, absent)
    return among(words, named)


def _groups(question: _Question, rows: pd.DataFrame) -> tuple["pd.Series[bool]", str]:
    """Mark the rows that are compared with all others, and say which they are."""
    settings, role = question.settings, question.by
    if role in settings.levels:
        return _claimed(rows, "by", question), _either(settings.levels[role])
    if role in settings.bands and is_number(rows["by"]):
        edge = max(settings.bands[role])
        return rows["by"] >= edge, f"{edge:g} or more"
    if is_number(rows["by"]):
        words = f"{_plain(role)} is a number, and the claim does not say from where on it is compared"
        raise Untestable("NO_MAPPING", words, f"{question.key}.bands.{role}")
    raise _no_level(question, rows, "by", [])


Answer = tuple[Evidence, pd.DataFrame, Chart]


def _difference(question: _Question, rows: pd.DataFrame) -> Answer:
    settings = question.settings
    inside, name = _groups(question, rows)
    own = rows.assign(value=_values(question, rows), group=inside)
    claimed, others = f"{_plain(question.by)} {name}", "all others"
    names = [others, claimed] if settings.direction == "lower" else [claimed, others]
    words = f"{question.what}, {names[0]} less {names[1]}{question.within}"
    evidence = kinds.difference(
        own,
        Columns(VALUE, GROUP, STRATUM if settings.strata else None),
        _asked(question, words),
        question.draws,
        names=names,
        first=settings.direction != "lower",
    )
    return evidence, *_means(question, own)


def _association(question: _Question, rows: pd.DataFrame) -> Answer:
    settings = question.settings
    own = rows.assign(of=_pooled(question, rows, "of"), by=_pooled(question, rows, "by"))
    require_two(own, "by", settings.smallest_group)
    own = large_levels(own, "by", settings.smallest_group)
    words = f"association of {_plain(question.of)} and {_plain(question.by)}{question.within}"
    tested = kinds.stratified_association(
        own, Columns("of", "by", STRATUM), question.margin, f"the {_plain(question.of)}"
    )
    detail = {"strata": tested.strata} | ({FACT: fact} if (fact := tested.fact()) else {})
    evidence = _asked(question, words, unit="Cohen's w").evidence(tested.test.w, detail=detail)
    cells = kinds.residual_table({question.of: tested}, question.by, question.admissions.units)
    chart = Chart(
        name="",
        kind="care_heat_map",
        table="",
        shows=f"Heat map: {_plain(question.of)} by {_plain(question.by)}, with adjusted residuals",
        note=f"Share of the column's admissions, and below it the adjusted residual{question.within}: by chance, 1 "
        f"cell in 20 lies beyond ±2. {STAR}",
        count=lambda table: int(table.drop_duplicates(question.by)["n"].sum()),
        options={"group": question.by},
    )
    return evidence, cells[cells["n"] >= settings.smallest_group], chart


def _pooled(question: _Question, rows: pd.DataFrame, side: str) -> "pd.Series[str]":
    """Return the words of a category, those that the claim leaves out as one; the bands of a number."""
    role = getattr(question, side)
    words = _bands(rows, side, question.settings.bands.get(role))
    if role not in question.settings.levels:
        return words
    return words.where(_claimed(rows, side, question), "all others")


def _variation(question: _Question, rows: pd.DataFrame) -> Answer:
    rows = each_admission(rows)
    own = rows.assign(value=_values(question, rows), group=_bands(rows, "by", question.settings.bands.get(question.by)))
    if question.settings.strata:
        centred = own[VALUE] - own.groupby(STRATUM)[VALUE].transform("mean") + own[VALUE].mean()
        own = own.assign(value=centred)
    table = sums(own, [GROUP], VALUE)
    names = f"levels of {_plain(question.by)}"
    kinds.require_several(table, names, 2 * question.settings.smallest_group, question.what)
    words = f"share of the variance of {question.what.removeprefix('mean ')} that lies between {names}{question.within}"
    mean = float(own[VALUE].mean())
    if mean == 0.0:
        raise constant(question.what)
    estimand = Estimand(question.part, words, "share of variance")
    gap = question.settings.smallest_effect / abs(mean)
    _, evidence = kinds.variation(table, gap, estimand, power=question.margin.power)
    evidence = kinds.with_permuted_p(evidence, own, Columns(VALUE, GROUP), question.draws, question.admissions.seed)
    return evidence, *_means(question, own)


def _trend(question: _Question, rows: pd.DataFrame) -> Answer:
    settings, rows = question.settings, each_admission(rows)
    own = rows.assign(value=_values(question, rows))
    along, unit = _along(question, own)
    own = own.assign(along=along / settings.per)[along.notna()]
    falls = settings.direction == "lower"
    words = f"{'fall' if falls else 'rise'} of the {question.what} per {unit}{question.within}"
    evidence = kinds.trend(
        own,
        VALUE,
        "along",
        own[STRATUM].to_numpy(),
        _asked(question, words, unit=f"{question.unit} per {unit}"),
        falls=falls,
    )
    return evidence, *_means(question, own)


def _along(question: _Question, rows: pd.DataFrame) -> tuple["pd.Series[float]", str]:
    """Turn what the values are claimed to change with into numbers, and name the unit."""
    column, role, settings = rows["by"], question.by, question.settings
    per = f"{settings.per:g} " if settings.per != 1 else ""
    if pd.api.types.is_datetime64_any_dtype(column):
        return (column - column.min()).dt.days / DAYS_A_YEAR, f"{per}year{'s' * bool(per)}"
    if role in settings.levels:
        _claimed(rows, "by", question)
        order = [level.strip().casefold() for level in settings.levels[role]]
        codes = (
            as_words(column).str.strip().str.casefold().map({level: float(step) for step, level in enumerate(order)})
        )
        return codes, f"{per}step{'s' * bool(per)} of {_plain(role)}"
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return column.cat.codes.astype("float64"), f"{per}step{'s' * bool(per)} of {_plain(role)}"
    if is_number(column):
        return column.astype("float64"), f"{per}{question.admissions.units_of_columns.get(role) or _plain(role)}"
    raise _no_level(question, rows, "by", [])


ESTIMATES = {"difference": _difference, "association": _association, "variation": _variation, "trend": _trend}


def _asked(question: _Question, words: str, unit: str | None = None) -> Asked:
    settings = question.settings
    return Asked(
        Estimand(question.part, words, unit or question.unit),
        question.margin,
        settings.smallest_group,
        f"the {question.what}",
        directional=settings.direction != "either",
    )


def _means(question: _Question, own: pd.DataFrame) -> tuple[pd.DataFrame, Chart]:
    """Give the mean of each level of the other column, the largest of them, and how they are drawn."""
    group = _bands(own, "by", question.settings.bands.get(question.by))
    table = mean_table(sums(own.assign(group=group), [GROUP], VALUE)).rename(columns={GROUP: question.by})
    table = table[table["n"] >= question.settings.smallest_group].reset_index(drop=True)
    unit = "%" if question.is_share else question.unit
    if question.is_share:
        table[["mean", "low", "high"]] *= 100
    chart = Chart(
        name="",
        kind="means",
        table="",
        shows=f"Bar chart: {question.what} by {_plain(question.by)}",
        note=f"{BARS}, each on its own, levels of {question.settings.smallest_group} admissions or more.",
        options={"group": question.by, "measure": (question.what[:1].upper() + question.what[1:], unit)},
    )
    return table, chart


def _plain(role: str) -> str:
    return role.replace("_", " ")


def _either(levels: list[str]) -> str:
    return " or ".join(levels)


def _slug(part: str) -> str:
    return part.replace(" ", "_")
