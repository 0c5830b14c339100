"""Is the model as good, and as well calibrated, for every kind of patient?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveFloat
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.text import in_unit, scale_of
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.evaluation.calibration import hair_of
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import loss_of
from hi_ml.modeling.scores.score import title as score_title
from hi_ml.statistics.bins import OUTSIDE, bins
from hi_ml.statistics.calibration import above, meets
from hi_ml.statistics.disclosure import withheld
from hi_ml.statistics.estimates import LEVEL, Effect
from hi_ml.statistics.groups import Units
from hi_ml.statistics.means import Side, against_the_rest
from hi_ml.statistics.multiplicity import holm

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
DIFFERENT, SAME, INCONCLUSIVE = VERDICTS = ("different", "no difference that matters", "inconclusive")
NOT_JUDGED = "not judged"  # what the coverage of a model without signal is: its label sets differ in size by nature
ERRORS_ONLY = (
    "Without a signal, subgroups show parity of errors only: who is selected by predictions that know nothing has no "
    "meaning."
)
_NAMED = 5  # levels that differ, in a sentence
_MISSING = "missing"  # the level of rows without a value
_FEWEST_EVENTS = 10  # units with the event, and without, in a level and in the rest
_COLUMNS = [
    "role", "level", "score", "value", "low", "high", "difference", "difference_low", "difference_high", "p",
    "p_exploratory", "p_holm", "margin", "n", "groups", "verdict", "unit", "control",
]  # fmt: skip


def _increasing(edges: list[float]) -> list[float]:
    if not edges or (np.diff(edges) <= 0).any():
        raise ValueError("expected at least one number, each larger than the one before")
    return edges


Edges = Annotated[list[float], AfterValidator(_increasing)]


@settings(frozen=True, config=STRICT)
class Subgroups:
    """Between whom a model is compared, and which differences matter."""

    roles: list[str] = Field(default_factory=list)  # columns whose levels are compared
    # columns of which no difference is expected: one that shows says how far to trust the others
    controls: list[str] = Field(default_factory=list)
    bands: dict[str, Edges] = Field(default_factory=dict)  # per column of numbers, where its bands begin, in its unit
    # per unit of a score, the smallest difference that matters
    margins: dict[str, PositiveFloat] = Field(default_factory=dict)
    margin_otherwise: PositiveFloat = 0.05  # the same for any other unit, as a share of the baseline's loss
    # units, in a level or in the rest, below which the verdict is always inconclusive
    fewest: int = Field(default=100, ge=2)


@dataclass(frozen=True)
class Quality:
    """A quality of every test row, whose mean is compared."""

    name: str
    unit: str
    values: Floats  # float64, shape (n_test,)
    margin: float  # the smallest difference of means that matters, in the unit
    # bool, shape (k, n_test); the events behind the values: of few of one kind, a mean is luck
    events: Mask
    judged: bool = True
    counts: bool = False  # whether the values tell how many have the event
    ties: Mask | None = None  # rows whose value is 0.5 where it could as well be 0 or 1


def measure(run: FittedRun, how: Subgroups) -> pd.DataFrame:
    """Compare the test rows of every level with all other test rows.

    Roles that cannot be compared are left out, as are levels of too few patients, and those that would tell of them.

    Returns
    -------
    DataFrame
        ``role, level, score, value, low, high, difference, difference_low, difference_high, p, p_exploratory, p_holm,
        margin, n, groups, verdict, unit, control``. Scores: the primary loss; ``share_above``, or per class
        ``observed_minus_predicted_`` (calibration in the large, in shares); ``coverage``, where there are intervals.
        Per admission, 95 % intervals by patient, of a joined column of hospitals by hospital; ``groups`` counts these;
        ``difference`` is the level less the rest. ``p_exploratory`` is
        adjusted over the levels of one role and score alone; ``p_holm`` (Holm 1979) over all comparisons of all roles,
        scores and controls in which level and rest have the ``fewest`` units, and 10 units with and 10 without each
        event: NaN for the others.

    Notes
    -----
    A level is ``different`` if ``p_holm`` is below 0.05 and the difference reaches the margin; there is ``no
    difference that matters`` if two one-sided tests at 5 % each rule the margin out (Schuirmann 1987); all else, and
    any level with few units or events in it or outside it, is ``inconclusive``. Without a signal, ``coverage`` is ``not
    judged``. Where targets meet their predictions, the difference of ``share_above`` is the least that ties allow.
    """
    rows, effects, judged, test = [], [], [], run.problem.where("test")
    qualities = list(_qualities(run, how))
    for role in comparable(run.problem, how):
        levels = _without_few(dict(_levels(run.problem, role, how.bands.get(role))), run.units, run.rule.smallest)
        units = run.problem.units_of(test, role)
        sides = [(Side.of(inside, units), Side.of(~inside, units)) for inside in levels.values()]
        for quality in qualities:
            found = [_against_the_rest(quality, pair) for pair in sides]
            for level, pair, effect, adjusted in zip(levels, sides, found, _adjust(found), strict=True):
                if quality.counts and any(run.rule.tells(side.rows & quality.events[0]) for side in pair):
                    continue
                rows.append(
                    {"role": role, "level": level, "score": quality.name, "unit": quality.unit}
                    | _inside(quality.values[pair[0].rows], pair[0].units)
                    | _difference(effect)
                    | {"p_exploratory": adjusted, "margin": quality.margin, "control": role in how.controls}
                )
                effects.append(effect)
                judged.append(quality.judged and effect is not None and _enough(quality, pair, units, how.fewest))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_holm"] = _over_all(table, effects, np.array(judged, dtype=bool))
    unjudged = table["score"].isin([quality.name for quality in qualities if not quality.judged])
    verdicts = map(_verdict, effects, table["p_holm"].to_list(), table["margin"].to_list())
    table["verdict"] = np.where(unjudged, NOT_JUDGED, np.array(list(verdicts), dtype=object))
    return table


def sentence(table: pd.DataFrame) -> str | None:
    """Say first which control differs, then which levels do by what matters, and how many comparisons tell nothing."""
    if table.empty:
        return None
    judged = table[table["verdict"] != NOT_JUDGED]
    different = judged[judged["verdict"] == DIFFERENT]
    unsure = int((judged["verdict"] == INCONCLUSIVE).sum())
    if len(judged) == unsure:
        return f"Subgroups: too few admissions to tell for any of {len(judged)} comparisons."
    if len(different):
        differ = "comparisons differ" if len(different) > 1 else "comparison differs"
        said = f"{len(different)} {differ} by what matters, of {len(judged)}: {_named(different)}"
    else:
        telling = len(judged) - unsure
        said = f"no group differs by what matters, in {telling} comparison{'s' * (telling > 1)}"
    said += f"; too few admissions to tell in {unsure} more" if unsure else ""
    if (fired := different["control"]).any():
        said = f"the control differs too ({_named(different[fired])}): do not trust the others; {said}"
    return f"Subgroups: {said}."


def _named(different: pd.DataFrame) -> str:
    names = [
        f"{row['role']} {row['level']} ({score_title(row['score'])} {_by_how_much(row['difference'], row['unit'])})"
        for row in different.head(_NAMED).to_dict("records")
    ]
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return ", ".join(names).replace("_", " ") + more


def _by_how_much(difference: float, unit: str) -> str:
    unit = "share of admissions" if unit == "share" else unit
    size = f"{in_unit(abs(difference), unit, signed=False)} {scale_of(unit).words}"
    return f"{'lower' if difference < 0 else 'higher'} by {size}"


def notes(run: FittedRun, how: Subgroups) -> Iterator[str]:
    """Say what to know before reading the table."""
    for role, why in obstacles(run.problem, how).items():
        yield f"Subgroups of {role} are not compared: {why}."
    for role in comparable(run.problem, how):
        if role in run.problem.owners:
            count = len(run.problem.units_of(run.problem.where("test"), role))
            yield f"Subgroups of {role} compare the {count:,} units that it belongs to, not admissions."
    if run.results["verdict"].verdict != "signal" and len(run.results["subgroups"]):
        yield ERRORS_ONLY


def comparable(problem: Problem, how: Subgroups) -> list[str]:
    """Choose the columns, controls last, whose levels can be compared."""
    without = obstacles(problem, how)
    return [role for role in _roles(how) if role not in without]


def obstacles(problem: Problem, how: Subgroups) -> dict[str, str]:
    """Say by role why a column cannot be compared."""
    return {role: why for role in _roles(how) if (why := _obstacle(problem, role, how))}


def _roles(how: Subgroups) -> Iterable[str]:
    return dict.fromkeys([*how.roles, *how.controls])


def _obstacle(problem: Problem, role: str, how: Subgroups) -> str:
    if role not in problem.table:
        return "the table lacks it, or keeps it private"
    if role == problem.task.target:
        return "it is the target"
    values = problem.table[role].dtype
    if pd.api.types.is_datetime64_any_dtype(values):
        return "it is a date"
    if pd.api.types.is_numeric_dtype(values) and role not in how.bands:
        return f"it is a number: set subgroups.bands.{role}"
    return ""


def _levels(problem: Problem, role: str, edges: list[float] | None) -> Iterator[tuple[str, Mask]]:
    """The levels that test rows have, and which rows."""
    values = problem.table[role][problem.where("test")]
    if edges is not None and pd.api.types.is_numeric_dtype(values):
        codes, labels = bins(values, edges, problem.units.get(role, ""))
    else:
        coded = values.astype("category").cat
        codes, labels = np.asarray(coded.codes, dtype=np.int64), [str(label) for label in coded.categories]
    for code, label in [*enumerate(labels), (OUTSIDE, _MISSING)]:
        if (inside := codes == code).any():
            yield label, inside


def _without_few(levels: dict[str, Mask], units: Units, smallest: int) -> dict[str, Mask]:
    sizes = np.array([len(units.only(inside)) for inside in levels.values()], dtype=np.int64)
    return {name: levels[name] for name, out in zip(levels, withheld(sizes, smallest), strict=True) if not out}


def _qualities(run: FittedRun, how: Subgroups) -> Iterator[Quality]:
    task, baseline = run.problem.task, run.units.mean(run.losses(run.constant()))
    occurred = run.target == np.arange(len(run.problem.labels))[:, None]

    def quality(name: str, values: Floats, events: Mask, unit: str = "share", **further: Any) -> Quality:
        return Quality(name, unit, values, how.margins.get(unit, how.margin_otherwise * baseline), events, **further)

    yield quality(loss_of(task).name, run.losses(), occurred, loss_of(task).unit)
    if not run.problem.labels:
        hair = hair_of(run)
        values, ties = above(run.target, run.predicted, within=hair), meets(run.target, run.predicted, within=hair)
        yield quality("share_above", values, run.target[None] > run.predicted, ties=ties)
    for code, label in run.told_labels.items():
        values = occurred[code] - run.predicted[:, code]
        yield quality(f"observed_minus_predicted_{label}", values, occurred[[code]], counts=True)
    conformal, verdict = run.results.get("intervals"), run.results.get("verdict")
    if conformal is not None and conformal.description is not None:
        known = verdict is None or verdict.verdict == "signal"
        yield quality("coverage", conformal.covered.astype(float), conformal.covered[None].astype(bool), judged=known)


def _against_the_rest(quality: Quality, pair: tuple[Side, Side]) -> Effect | None:
    """Compare a level with the rest; ties are no evidence, and stand against whichever difference there is.

    Where many targets are one value, as the bills of those who were billed nothing, predictions a hair above and below
    it would set groups apart for which the model is equally right.
    """
    found = against_the_rest(quality.values, *pair, margin=quality.margin)
    if found is None or quality.ties is None or not quality.ties.any():
        return found
    shift = 0.5 * quality.ties * np.where(pair[0].rows, 1.0, -1.0)
    most, least = (against_the_rest(quality.values + by, *pair, margin=quality.margin) for by in (shift, -shift))
    if most is None or least is None:
        return replace(found, p_zero=1.0, p_outside=1.0)
    shown = least if least.estimate > 0 else most if most.estimate < 0 else replace(found, p_zero=1.0)
    return replace(shown, p_outside=max(most.p_outside, least.p_outside))


def _adjust(effects: list[Effect | None]) -> list[float]:
    """Adjust the p-values of a role's levels; of two levels, both comparisons are the same one."""
    tested = [position for position, effect in enumerate(effects) if effect is not None]
    raw = np.array([effect.p_zero for effect in effects if effect is not None])
    adjusted = np.full(len(effects), np.nan)
    adjusted[tested] = raw if len(effects) == 2 else holm(raw)  # noqa: PLR2004 -- as said
    return adjusted.tolist()


def _over_all(table: pd.DataFrame, effects: list[Effect | None], judged: Mask) -> Floats:
    """Adjust over all comparisons; one and its mirror image (of two levels, or of two labels) count once."""
    adjusted = np.full(len(table), np.nan)
    size = [f"{abs(effect.statistic):.9g}" if effect is not None else "" for effect in effects]
    keys = pd.Series(size, index=table.index).str.cat(table["role"], sep=" ")[judged]
    _, first, same = np.unique(keys, return_index=True, return_inverse=True)
    adjusted[judged] = holm(table["p"].to_numpy()[judged][first])[same] if judged.any() else []
    return adjusted


def _inside(values: Floats, side: Units) -> dict[str, float]:
    counts = {"n": side.admissions, "groups": len(side)}
    if len(side) < 2:  # noqa: PLR2004 -- an interval needs two
        return counts | {"value": side.mean(values), "low": np.nan, "high": np.nan}
    mean = side.ratio(values)
    return counts | {"value": mean.value, "low": mean.low, "high": mean.high}


def _difference(effect: Effect | None) -> dict[str, float]:
    names = ("difference", "difference_low", "difference_high", "p")
    if effect is None:
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, (effect.estimate, effect.low, effect.high, effect.p_zero), strict=True))


def _enough(quality: Quality, sides: tuple[Side, Side], units: Units, fewest: int) -> bool:
    """Whether level and rest have enough units, and enough of them with and without each event."""
    cells = (side.rows & cell for side in sides for event in quality.events for cell in (event, ~event))
    return all(len(side.present) >= fewest for side in sides) and all(
        np.count_nonzero(np.bincount(units.unit[cell])) >= _FEWEST_EVENTS for cell in cells
    )


def _verdict(effect: Effect | None, adjusted: float, margin: float) -> str:
    if effect is None or np.isnan(adjusted):
        return INCONCLUSIVE
    if adjusted < LEVEL and abs(effect.estimate) >= margin:
        return DIFFERENT
    return SAME if effect.p_outside < LEVEL else INCONCLUSIVE


ASSESSMENTS = [Assessment("subgroups", measure, Subgroups, sentence=sentence, notes=notes)]
