"""Is the model as good, and as well calibrated, for every kind of patient?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveFloat
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.evaluation.assessment import Assessment, FittedRun
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import primary
from hi_ml.statistics.bins import OUTSIDE, bins
from hi_ml.statistics.calibration import above
from hi_ml.statistics.estimates import LEVEL, Effect
from hi_ml.statistics.groups import group_means, mean_interval
from hi_ml.statistics.means import against_the_rest
from hi_ml.statistics.multiplicity import holm

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
DIFFERENT, SAME, INCONCLUSIVE = VERDICTS = ("different", "no difference that matters", "inconclusive")
ERRORS_ONLY = (
    "Without a signal, subgroups show parity of errors only: who is selected by predictions that know nothing has no "
    "meaning."
)
_NAMED = 5  # levels that differ, in a sentence
_MISSING = "missing"  # the level of rows without a value
_COLUMNS = [
    "role", "level", "score", "value", "low", "high", "difference", "difference_low", "difference_high", "p", "p_holm",
    "margin", "n", "groups", "verdict", "unit",
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
    # groups of rows, in a level or in the rest, below which the verdict is always inconclusive
    fewest: int = Field(default=100, ge=2)


@dataclass(frozen=True)
class Quality:
    """A quality of every test row, whose mean is compared."""

    name: str
    unit: str
    values: Floats  # float64, shape (n_test,)
    margin: float  # the smallest difference of means that matters, in the unit


def measure(run: FittedRun, how: Subgroups) -> pd.DataFrame:
    """Compare the test rows of every level with all other test rows; roles that cannot be compared are left out.

    Returns
    -------
    DataFrame
        ``role, level, score, value, low, high, difference, difference_low, difference_high, p, p_holm, margin, n,
        groups, verdict, unit``. Scores: the primary loss; ``share_above``, or per class ``observed_minus_predicted_``
        (calibration in the large, in shares); ``coverage``, where there are intervals. Rows inside a group are
        averaged; 95 % intervals over groups; ``difference`` is the level less the rest; Holm (1979) over the levels of
        one role and score.

    Notes
    -----
    A level is ``different`` if its adjusted p is below 0.05 and the difference reaches the margin; there is ``no
    difference that matters`` if two one-sided tests at 5 % each rule the margin out (Schuirmann 1987); all else, and
    any level with few groups in it or outside it, is ``inconclusive``.
    """
    group, rows = run.group, []
    qualities = list(_qualities(run, how))
    for role in comparable(run.problem, how):
        levels = list(_levels(run.problem, role, how.bands.get(role)))
        for quality in qualities:
            effects = [against_the_rest(quality.values, inside, group, margin=quality.margin) for _, inside in levels]
            for (level, inside), effect, adjusted in zip(levels, effects, _adjust(effects), strict=True):
                enough = _smaller_side(inside, group) >= how.fewest
                rows.append(
                    {"role": role, "level": level, "score": quality.name, "unit": quality.unit}
                    | _inside(quality.values[inside], group[inside])
                    | _difference(effect, adjusted)
                    | {"margin": quality.margin, "verdict": _verdict(effect, adjusted, quality.margin, enough)}
                )
    return pd.DataFrame(rows, columns=_COLUMNS)


def sentence(table: pd.DataFrame) -> str | None:
    """Say which levels differ from the rest by what matters, and how many comparisons tell nothing."""
    if table.empty:
        return None
    different = table[table["verdict"] == DIFFERENT]
    unsure = int((table["verdict"] == INCONCLUSIVE).sum())
    head = f"Subgroups: {len(different)} of {len(table)} differences matter, {unsure} inconclusive"
    if different.empty:
        return f"{head}."
    names = [f"{row.role} {row.level} ({row.score})" for row in different.head(_NAMED).itertuples()]
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return f"{head}: {', '.join(names)}{more}."


def notes(run: FittedRun, how: Subgroups) -> Iterator[str]:
    """Say what to know before reading the table."""
    for role, why in obstacles(run.problem, how).items():
        yield f"Subgroups of {role} are not compared: {why}."
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


def _qualities(run: FittedRun, how: Subgroups) -> Iterator[Quality]:
    task, baseline = run.problem.task, float(group_means(run.losses(run.constant()), run.group).mean())

    def quality(name: str, values: Floats, unit: str = "share") -> Quality:
        return Quality(name, unit, values, how.margins.get(unit, how.margin_otherwise * baseline))

    yield quality(task.score, run.losses(), primary(task).unit)
    if not run.problem.labels:
        yield quality("share_above", above(run.target, run.predicted))
    for code, label in enumerate(run.problem.labels):
        yield quality(f"observed_minus_predicted_{label}", (run.target == code) - run.predicted[:, code])
    conformal = run.results.get("intervals")
    if conformal is not None and conformal.description is not None:
        yield quality("coverage", conformal.covered.astype(float))


def _adjust(effects: list[Effect | None]) -> list[float]:
    """Adjust the p-values of a role's levels; of two levels, both comparisons are the same one."""
    tested = [position for position, effect in enumerate(effects) if effect is not None]
    raw = np.array([effect.p_zero for effect in effects if effect is not None])
    adjusted = np.full(len(effects), np.nan)
    adjusted[tested] = raw if len(effects) == 2 else holm(raw)  # noqa: PLR2004 -- as said
    return adjusted.tolist()


def _inside(values: Floats, group: NDArray[np.int64]) -> dict[str, float]:
    means = group_means(values, group)
    counts = {"n": len(values), "groups": len(means)}
    if len(means) < 2:  # noqa: PLR2004 -- an interval needs two
        return counts | {"value": float(means[0]), "low": np.nan, "high": np.nan}
    mean = mean_interval(means)
    return counts | {"value": mean.value, "low": mean.low, "high": mean.high}


def _difference(effect: Effect | None, adjusted: float) -> dict[str, float]:
    names = ("difference", "difference_low", "difference_high", "p", "p_holm")
    if effect is None:
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, (effect.estimate, effect.low, effect.high, effect.p_zero, adjusted), strict=True))


def _smaller_side(inside: Mask, group: NDArray[np.int64]) -> int:
    return min(len(np.unique(group[inside])), len(np.unique(group[~inside])))


def _verdict(effect: Effect | None, adjusted: float, margin: float, enough: bool) -> str:
    if effect is None or not enough:
        return INCONCLUSIVE
    if adjusted < LEVEL and abs(effect.estimate) >= margin:
        return DIFFERENT
    return SAME if effect.p_outside < LEVEL else INCONCLUSIVE


ASSESSMENTS = [Assessment("subgroups", measure, Subgroups, sentence=sentence, notes=notes)]
