"""How often does anything claim to have found something on tables in which there is nothing?

    python experiments/null_calendar.py [--cells <names>] [--tables 200] [--jobs 2] [--seed 0] [--output <csv>]

Draws tables of patients who come again (see null_tables.py), one axis at a time from a base cell and some pairs of
axes, and asks each command for its word: is a claim supported, does a model have signal, does a subgroup differ, does a
probe or the drift of a batch alarm, is a model promoted that is no better. A table that the output counts is not drawn
again: a cell goes on where it ended.
"""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from null_tables import admissions_of, distinct, null_table, settings, state
from scipy.stats import binom, binomtest, norm
from tqdm import tqdm

import hi_ml
from hi_ml.app.errors import NotTrainable
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.prediction import drift
from hi_ml.tracking.registry import CHAMPION, PairedLosses, judge

FEW, LARGE = 60, 50_000  # tables of a cell of so many rows
PART = 20  # tables that are drawn before the output is written again
PROMISE = 0.05
# with which a perfect method exceeds the limit of one cell: so that it stays below all of them in 95 % of calendars
_CHANCE = 0.0005
ASSESSED = ("verdict", "intervals", "scores", "subgroups", "probes")
REFUSED = "refused"
BATCH = 1_000  # rows whose drift is asked for, at most


@dataclass(frozen=True)
class Cell:
    """A kind of table."""

    admissions: int = 5_000
    per_patient: int = 2
    icc: float = 0.3  # correlation of two admissions of a patient
    kept: float = 0.7  # chance that a patient keeps a label
    tail: str = "normal"  # of bills and stays
    classes: int = 2  # of the test result
    prevalence: float = 0.5  # of the first of two classes
    hospitals: int = 40
    tiny: int = 0  # admissions of a fifth insurer
    giant: float = 0.0  # share of the rows that one patient has


BASE = Cell()
AXES: dict[str, tuple[Any, ...]] = {
    "admissions": (100, 300, 1_000, 50_000),
    "per_patient": (1, 5, 10),
    "icc": (0.0,),
    "kept": (0.0, 1.0),
    "tail": ("uniform", "lognormal 1", "lognormal 2", "zeros", "cauchy"),
    "classes": (3, 20),
    "prevalence": (0.01, 0.05),
    "hospitals": (3, 12, 200),
    "tiny": (10, 40),
    "giant": (0.5,),
}
FIRST: tuple[dict[str, Any], ...] = (  # what the verdicts were promised on
    {"per_patient": 5},
    {"per_patient": 5, "kept": 1.0},
    {"admissions": 300, "prevalence": 0.01},
    {"admissions": 300, "prevalence": 0.05},
    {"admissions": 1_000, "prevalence": 0.01},
    {"admissions": 1_000, "prevalence": 0.05},
    {"prevalence": 0.01},
    {"prevalence": 0.05},
    {},
)
PAIRS: tuple[dict[str, Any], ...] = (
    {"per_patient": 5, "prevalence": 0.05},
    {"per_patient": 5, "tail": "lognormal 2"},
    {"admissions": 300, "tail": "lognormal 2"},
    {"admissions": 1_000, "classes": 20},
    {"admissions": 50_000, "per_patient": 5},
    {"tail": "lognormal 2", "tiny": 40},
    {"giant": 0.5, "kept": 1.0},
)


def cells() -> dict[str, Cell]:
    """Return every cell by what sets it apart, those first on which most depends."""
    changes = [*FIRST, *({axis: value} for axis, values in AXES.items() for value in values), *PAIRS]
    return {", ".join(f"{k} {v}" for k, v in change.items()) or "base": replace(BASE, **change) for change in changes}


def table_of(cell: Cell, seed: int) -> pd.DataFrame:
    """Draw a table of a cell, its test results anew: each of so many classes, two admissions of a patient alike."""
    plain = asdict(cell)
    tail, classes, prevalence = (plain.pop(name) for name in ("tail", "classes", "prevalence"))
    table = null_table(seed, **plain, bills=tail, stays=tail)
    rng = np.random.default_rng([seed, 1])
    patient = pd.factorize(table["patient_id"])[0]
    own = rng.normal(size=patient.max() + 1)[patient]
    rank = norm.cdf(np.sqrt(cell.icc) * own + np.sqrt(1 - cell.icc) * rng.normal(size=len(table)))
    cuts = [prevalence] if classes == 2 else np.arange(1, classes) / classes  # noqa: PLR2004 -- one cut makes two
    return table.assign(test_result=np.char.add("result ", np.searchsorted(cuts, rank).astype(str)))


def answers(cell: Cell, seed: int) -> Iterator[tuple[str, bool | None]]:
    """Ask every question of one table; None where it cannot be asked."""
    table = table_of(cell, seed)
    found = state(distinct(table, seed), settings())
    yield "claim", any(finding.verdict == "supported" for finding in found)
    admissions = admissions_of(table)
    runs = {"amount": _run(admissions, "billing"), "classes": _run(admissions, "test_results")}
    refused = any(run is REFUSED for run in runs.values())
    results = {name: hi_ml.assess(run, *ASSESSED) for name, run in runs.items() if isinstance(run, FittedRun)}
    for name in runs:
        yield name, results[name]["verdict"].verdict == "signal" if name in results else None
    asked = results.values()
    differs = {name: bool((one["subgroups"]["verdict"] == "different").any()) for name, one in results.items()}
    yield "subgroup", any(differs.values()) if differs else None
    for name in runs:  # the 5 % are promised of each
        yield f"subgroup_{name}", differs.get(name)
    alarm = any(not probe.passed for result in asked for probe in result["probes"])
    yield "probe", refused or alarm if refused or asked else None
    run = runs["amount"]
    yield "promotion", _promoted(run) if isinstance(run, FittedRun) else None
    yield "drift", _drifts(run) if isinstance(run, FittedRun) else None


def _run(admissions: Any, task: str) -> FittedRun | str | None:
    """Fit the default model; `REFUSED` if a probe takes a column for the target, None if the table has no such task."""
    try:
        return hi_ml.fit(admissions, task)
    except NotTrainable:
        with suppress(NotTrainable):
            hi_ml.pose(admissions, task)
            return REFUSED
        return None


def _promoted(champion: FittedRun) -> bool:
    """Let the same recipe challenge a champion with another seed of its learner: it is no better."""
    problem = champion.problem
    test, train = problem.where("test"), np.flatnonzero(problem.where("train"))
    challenger = replace(champion.method, seed=champion.method.seed + 1).fit(problem, train)
    losses = champion.losses(challenger.predict(problem.features.frame[test]))
    digest = np.flatnonzero(test).astype(np.uint64)
    pair = PairedLosses(problem.task.unit, champion.units, digest, champion.losses(), losses)
    return judge(pair, np.array([], np.uint64), comparisons=1).alias == CHAMPION


def _drifts(run: FittedRun) -> bool:
    """Hold the first admissions of tested patients against the rows of training."""
    problem, frame = run.problem, run.problem.features.frame
    train, test = (np.flatnonzero(problem.where(part)) for part in ("train", "test"))
    columns = [spec for spec in problem.features.specs.values() if spec["kind"] != "date" and spec["role"] in frame]
    profile = drift.profile(frame.iloc[train], columns, problem.group[train])
    batch = test[np.unique(problem.group[test], return_index=True)[1]][:BATCH]
    numbers = {column["role"]: (frame[column["role"]].to_numpy()[batch], None) for column in profile["columns"]}
    return bool(drift.alarms(drift.compare(profile, drift.count_rows(profile, numbers))))


def study(name: str, seeds: range, *, jobs: int) -> pd.DataFrame:
    """Ask every question of tables of a cell, one for each seed, and count.

    Returns
    -------
    DataFrame
        ``cell, question, tables, hits``.
    """
    one = delayed(lambda number: list(answers(cells()[name], number)))
    said = Parallel(n_jobs=jobs)(one(number) for number in tqdm(seeds, desc=name, disable=None))
    hits = pd.DataFrame([pair for each in said for pair in each], columns=["question", "hit"]).dropna()
    counts = hits["hit"].astype(int).groupby(hits["question"], sort=False).agg(["size", "sum"])
    return counts.reset_index().set_axis(["question", "tables", "hits"], axis=1).assign(cell=name)


def added_up(counts: pd.DataFrame) -> pd.DataFrame:
    """Add up the counts of a cell, drawn in parts.

    Returns
    -------
    DataFrame
        ``cell, question, tables, hits, share, low, high, most``: exact 95 % limits of the share, and the hits that are
        allowed.
    """
    table = counts.groupby(["cell", "question"], sort=False)[["tables", "hits"]].sum().astype("int64").reset_index()
    pairs = list(zip(table["hits"], table["tables"], strict=True))
    limits = [binomtest(hits, n).proportion_ci() for hits, n in pairs]
    return table.assign(
        share=[hits / n for hits, n in pairs],
        low=[limit.low for limit in limits],
        high=[limit.high for limit in limits],
        most=[int(binom.isf(_CHANCE, n, PROMISE)) for _, n in pairs],
    )


def main() -> None:
    """Run the calendar and write its table, again after some tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=list(cells()), choices=list(cells()), metavar="CELL")
    parser.add_argument("--tables", type=int, default=200, help=f"of a cell; at {LARGE:,} rows {FEW} at most")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the first table")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    done = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame({"cell": [], "tables": []})
    for name in asked.cells:
        wanted = min(asked.tables, FEW) if cells()[name].admissions >= LARGE else asked.tables
        drawn = int(done.loc[done["cell"] == name, "tables"].max()) if name in set(done["cell"]) else 0
        for start in range(drawn, wanted, PART):
            made = study(name, range(asked.seed + start, asked.seed + min(start + PART, wanted)), jobs=asked.jobs)
            done = added_up(pd.concat([done, made]))
            done.round(4).to_csv(asked.output, index=False)
    over = done[done["hits"] > done["most"]]
    print(done.to_string(index=False), f"\n\n{len(over)} of {len(done)} above what chance allows", sep="")


if __name__ == "__main__":
    main()
