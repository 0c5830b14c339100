"""Is the model as good, and as well calibrated, for every kind of patient?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveFloat
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.modeling.judgement import losses
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
class Score:
    """A quality of every test row, whose mean is compared."""

    name: str
    unit: str
    values: Floats  # float64, shape (n_test,)
    margin: float  # the smallest difference of means that matters, in the unit


def measure(
    problem: Problem, predicted: Floats, asked: Subgroups, *, baseline: float, covered: Mask | None = None
) -> pd.DataFrame:
    """Compare the test rows of every level with all other test rows.

    Parameters
    ----------
    predicted : array of float64, shape (n_test,) or (n_test, n_classes)
    asked : Subgroups
        Columns that cannot be compared are left out, see `left_out`.
    baseline : float
        The baseline's primary loss.
    covered : array of bool, shape (n_test,), optional
        Whether the interval, or the set of labels, holds the target.

    Returns
    -------
    DataFrame
        ``role, level, score, value, low, high, difference, difference_low, difference_high, p, p_holm, margin, n,
        groups, verdict, unit``. Scores: the primary loss; ``share_above``, or per class ``observed_minus_predicted_``
        (calibration in the large, in shares); ``coverage``. Rows inside a group are averaged; 95 % intervals over
        groups; ``difference`` is the level less the rest; Holm (1979) over the levels of one role and score.

    Notes
    -----
    A level is ``different`` if its adjusted p is below 0.05 and the difference reaches the margin; there is ``no
    difference that matters`` if two one-sided tests at 5 % each rule the margin out (Schuirmann 1987); all else, and
    any level with few groups in it or outside it, is ``inconclusive``.
    """
    group = problem.group[problem.where("test")]
    rows: list[dict[str, Any]] = []
    for role in comparable(problem, asked):
        levels = list(_levels(problem, role, asked.bands.get(role)))
        for score in _scores(problem, predicted, asked, baseline=baseline, covered=covered):
            effects = [against_the_rest(score.values, inside, group, margin=score.margin) for _, inside in levels]
            for (level, inside), effect, adjusted in zip(levels, effects, _adjusted(effects), strict=True):
                enough = _smaller_side(inside, group) >= asked.fewest
                rows.append(
                    {"role": role, "level": level, "score": score.name, "unit": score.unit, "margin": score.margin}
                    | _inside(score.values[inside], group[inside])
                    | _difference(effect, adjusted)
                    | {"verdict": _verdict(effect, adjusted, score.margin, enough)}
                )
    return pd.DataFrame(rows, columns=_COLUMNS)


def comparable(problem: Problem, asked: Subgroups) -> list[str]:
    """Choose the columns, controls last, whose levels can be compared."""
    without = left_out(problem, asked)
    return [role for role in _asked_for(asked) if role not in without]


def left_out(problem: Problem, asked: Subgroups) -> dict[str, str]:
    """Say by role why a column cannot be compared."""
    found = {role: _obstacle(problem, role, asked) for role in _asked_for(asked)}
    return {role: why for role, why in found.items() if why}


def _asked_for(asked: Subgroups) -> Iterable[str]:
    return dict.fromkeys([*asked.roles, *asked.controls])


def _obstacle(problem: Problem, role: str, asked: Subgroups) -> str:
    if role not in problem.table:
        return "the table lacks it, or keeps it private"
    if role == problem.task.target:
        return "it is the target"
    values = problem.table[role].dtype
    if pd.api.types.is_datetime64_any_dtype(values):
        return "it is a date"
    if pd.api.types.is_numeric_dtype(values) and role not in asked.bands:
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


def _scores(
    problem: Problem, predicted: Floats, asked: Subgroups, *, baseline: float, covered: Mask | None
) -> Iterator[Score]:
    task, target = problem.task, problem.target[problem.where("test")]

    def score(name: str, values: Floats, unit: str = "share") -> Score:
        return Score(name, unit, values, asked.margins.get(unit, asked.margin_otherwise * baseline))

    yield score(task.score, losses(task, target, predicted), primary(task).unit)
    if not problem.labels:
        yield score("share_above", above(target, predicted))
    for code, label in enumerate(problem.labels):
        yield score(f"observed_minus_predicted_{label}", (target == code) - predicted[:, code])
    if covered is not None:
        yield score("coverage", covered.astype(float))


def _adjusted(effects: list[Effect | None]) -> list[float]:
    """Adjust the p-values of a role's levels; of two levels, both comparisons are the same one."""
    tested = [place for place, effect in enumerate(effects) if effect is not None]
    raw = np.array([effect.p_zero for effect in effects if effect is not None])
    adjusted = np.full(len(effects), np.nan)
    adjusted[tested] = raw if len(effects) == 2 else holm(raw)  # noqa: PLR2004 -- as said
    return adjusted.tolist()


def _inside(values: Floats, group: NDArray[np.int64]) -> dict[str, float]:
    means = group_means(values, group)
    counts = {"n": len(values), "groups": len(means)}
    if len(means) < 2:  # noqa: PLR2004 -- an interval needs two
        return counts | {"value": float(means[0]), "low": np.nan, "high": np.nan}
    found = mean_interval(means)
    return counts | {"value": found.value, "low": found.low, "high": found.high}


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
