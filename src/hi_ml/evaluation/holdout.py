"""Does the recipe hold in a hospital that it was not taught? Each is left out in turn, and all are summarised."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy.stats import t
from statsmodels.stats.meta_analysis import combine_effects

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import percent
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.assessment import Assessment, FittedRun, Method
from hi_ml.evaluation.transport import measures
from hi_ml.modeling.problem import Problem
from hi_ml.modeling.scores.score import Baseline, Predictions
from hi_ml.modeling.splits import folds
from hi_ml.scorer.serving import UNSEEN
from hi_ml.statistics.estimates import LEVEL

Floats = NDArray[np.float64]
ALL = "random effects"
FEW = "not enough to tell"
_FEWEST_POOLED = 3  # estimates from which on their spread can be told
_COLUMNS = [
    "level", "measure", "class", "unit", "value", "low", "high", "n", "groups", "tau", "next_low", "next_high", "note",
]  # fmt: skip


@settings(frozen=True, config=STRICT)
class Holdout:
    """What is left out."""

    by: str | None = None  # a column, such as hospital, whose levels are left out
    fits: int = Field(default=20, ge=2)  # at most: of more levels, several are left out at once
    fewest: int = Field(default=100, ge=10)  # patients; levels of fewer are told of together


def check_described(by: str | None, dataset: Dataset, targets: Collection[str]) -> None:
    """Refuse, before the table is read, a column that it will not have, or that will have no levels to leave out.

    Raises
    ------
    ConfigurationInvalid
    """
    present = dataset.present()
    able = {role: column.kind in (None, "category") and not column.private for role, column in present.items()}
    known = [role for role in present if able[role] and role not in targets]
    named_by_file = bool(dataset.known) and by not in present and by not in targets  # the file itself names columns
    if by is not None and by not in known and not named_by_file:
        raise ConfigurationInvalid.not_one_of("holdout_by", by, known)


def check(problem: Problem, _: Method, how: Holdout) -> None:
    """Refuse a column that has no levels to leave out.

    Raises
    ------
    ConfigurationInvalid
    """
    texts = problem.table.select_dtypes(exclude=["number", "datetime"])
    levels = texts.drop(columns=problem.task.target, errors="ignore").nunique()
    known = [str(role) for role in levels.index[levels > 1]]
    if how.by is not None and how.by in levels and how.by not in known:
        raise ConfigurationInvalid.one_level(how.by, known)
    if how.by not in known:
        raise ConfigurationInvalid.not_one_of("holdout_by", how.by, known)


def measure(run: FittedRun, how: Holdout) -> pd.DataFrame:
    """Fit without the admissions of some levels, and without their patients, and judge the model on those levels.

    Returns
    -------
    DataFrame
        ``level, measure, class, unit, value, low, high, n, groups, tau, next_low, next_high, note``: skill over the
        level's own constant, intercept and slope as `hi_ml.evaluation.transport.measures` has them, with 95 % intervals
        by patient. Levels of few patients are one line. The last lines, of level `ALL`, are random-effects means
        (Paule & Mandel; interval of Hartung, Knapp, Sidik & Jonkman) with the standard deviation ``tau`` between
        levels, and the interval in which the next level would lie.

    References
    ----------
    Higgins, Thompson & Spiegelhalter (2009), JRSS A 172, 137. https://doi.org/10.1111/j.1467-985X.2008.00552.x
    """
    predicted = _left_out(run, how)
    codes, names = _levels(run.problem, how)
    lines = [line for code, name in enumerate(names) for line in _lines(run, predicted, codes == code, name)]
    table = pd.DataFrame(lines, columns=_COLUMNS)
    return pd.concat([table, pd.DataFrame(_summaries(table), columns=_COLUMNS)], ignore_index=True)


def _levels(problem: Problem, how: Holdout) -> tuple[NDArray[np.int64], list[str]]:
    """Number the levels by size, those of few patients together at the end; -1 where missing."""
    values = problem.table[how.by].astype(object)
    patients = pd.Series(problem.group).groupby(values.to_numpy()).nunique().sort_values(ascending=False, kind="stable")
    large = [level for level, n in patients.items() if n >= how.fewest]
    number = {level: code for code, level in enumerate(large)} | dict.fromkeys(patients.index[len(large) :], len(large))
    names = [*map(str, large), *([f"{len(patients) - len(large)} of few"] if len(large) < len(patients) else [])]
    return values.map(number).fillna(-1).to_numpy(np.int64), names


def _left_out(run: FittedRun, how: Holdout) -> Floats:
    """Predict every row by a model that saw neither its level nor its patient; NaN where the level is missing."""
    problem = run.problem
    codes = pd.factorize(problem.table[how.by].astype(object))[0]
    predicted = np.full((len(codes), len(problem.labels)) if problem.labels else len(codes), np.nan)
    hidden = [name for name, role in problem.features.role.items() if role == how.by]
    known = np.flatnonzero(codes >= 0)
    for _, position in folds(codes[known], count=how.fits, seed=run.method.seed):
        held = known[position]
        taught = np.flatnonzero(~np.isin(codes, codes[held]) & ~np.isin(problem.group, problem.group[held]))
        fitted = run.method.fit(problem, taught)
        rows = problem.features.frame.iloc[held].assign(**dict.fromkeys(hidden, float(UNSEEN)))
        predicted[held] = problem.clip_to_top(fitted.predict(rows), held)
    return predicted


def _lines(run: FittedRun, predicted: Floats, inside: NDArray[np.bool_], name: str) -> Iterator[dict[str, object]]:
    problem, task = run.problem, run.problem.task
    units, target = problem.units_of(inside), problem.target[inside]
    here = Predictions(task, target, predicted[inside], units, run.method.seed, draws=0)
    line = {"level": name, "n": units.admissions, "groups": len(units)}
    if not here.enough:
        yield line | {"measure": "skill", "note": FEW}
        return
    own = Baseline.of(task, target, votes=units.votes, classes=len(problem.labels))
    for one in measures(here, own, problem.labels):
        known = {"measure": one.measure, "class": one.label, "unit": one.unit}
        yield line | known | {"value": one.value, "low": one.low, "high": one.high}


def _summaries(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    known = table[table["value"].notna() & ~table["level"].str.fullmatch(r"\d+ of few")]
    for (name, label, unit), part in known.groupby(["measure", "class", "unit"], sort=False):
        k = len(part)
        if k < _FEWEST_POOLED:
            continue
        df = (part["groups"] - 1).to_numpy(float)
        errors = (part["high"] - part["low"]).to_numpy(float) / 2 / t.isf(LEVEL / 2, df)
        found = combine_effects(part["value"].to_numpy(float), errors**2, method_re="iterated", use_t=True)
        low, high = found.conf_int()[3]  # of random effects, by Hartung, Knapp, Sidik & Jonkman
        tau2, mean = max(float(found.tau2), 0.0), float(found.mean_effect_re)
        reach = float(t.isf(LEVEL / 2, k - 2 or 1)) * (tau2 + float(found.sd_eff_w_re_hksj) ** 2) ** 0.5
        yield {
            "level": ALL, "measure": name, "class": label, "unit": unit, "value": mean, "low": float(low),
            "high": float(high), "n": int(part["n"].sum()), "groups": int(part["groups"].sum()), "tau": tau2**0.5,
            "next_low": mean - reach, "next_high": mean + reach, "note": str(k),
        }  # fmt: skip


def _sentence(table: pd.DataFrame) -> str:
    """Say what the skill is in a level that was not taught, and how much it varies."""
    skills = table[(table["measure"] == "skill") & (table["level"] != ALL)]
    told, summary = skills[skills["value"].notna()], table[(table["measure"] == "skill") & (table["level"] == ALL)]
    few = len(skills) - len(told)
    rest = f"; {few} have not enough admissions to tell" if few else ""
    if summary.empty:
        return f"Left out in turn: too few places to summarise, {len(told)} can be told{rest}."
    one = summary.iloc[0]
    return (
        f"Left out in turn, {one['note']} places have a skill of {percent(one['value'])} % on average (95 % interval "
        f"{percent(one['low'])} to {percent(one['high'])}), from {percent(told['value'].min())} to "
        f"{percent(told['value'].max())} %; the next one may have {percent(one['next_low'])} to "
        f"{percent(one['next_high'])} %{rest}."
    )


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    summary = table[(table["level"] == ALL) & (table["measure"] == "skill")]
    ends = {"": "value", "_low": "low", "_high": "high", "_tau": "tau"}
    return {f"holdout_skill{end}": float(row[name]) for row in summary.to_dict("records") for end, name in ends.items()}


ASSESSMENTS = [
    Assessment("holdout", measure, Holdout, check, metrics=_metrics, sentence=_sentence),
]
