"""What share of the attainable skill does each model reach, on tables whose truth is known?

    python experiments/attainable.py [--scenario interactions] [--models lgbm hist_gbm ...] [--seeds 0 1 2 3 4]
        [--rows 55500] [--set model.regression.num_leaves=31 ...] [--output <csv>]

Per simulated table, task and model: fit on the training part, score on the test part, and divide the loss removed by
what the best possible model removes, which the simulator knows by formula (hospital effects learned from as many rows).
The share of one table is uncertain, since its test rows are a sample; the table of means says by how much.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import hi_ml
from hi_ml.data.simulation import simulate
from hi_ml.data.simulation.truth import truth
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.statistics.groups import mean_interval

TASKS = ["length_of_stay", "billing", "test_results"]
ZOO = ["lgbm", "hist_gbm", "random_forest", "linear", "baseline"]


def main() -> None:
    """Measure, print the means, write the rows if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="planted")
    parser.add_argument("--models", nargs="+", default=ZOO)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--rows", type=int, default=55_500)
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="changes to the configuration")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    found = pd.DataFrame(
        [
            row
            for seed in asked.seeds
            for row in shares(seed, asked.rows, asked.models, asked.overrides, scenario=asked.scenario)
        ]
    )
    if asked.output:
        found.to_csv(asked.output, index=False, float_format="%.5f", lineterminator="\n")
    print(means(found).to_string(index=False))


def shares(
    seed: int, rows: int, models: list[str], overrides: list[str], *, scenario: str = "planted"
) -> Iterator[dict[str, object]]:
    """Yield the share that each model reaches on one table, by task."""
    admissions = hi_ml.read("simulated", rows=rows, seed=seed, scenario=scenario)
    known = truth(simulate(scenario, rows, seed=seed, effect=admissions.dataset.effect))
    for name, model in product(TASKS, models):
        run = hi_ml.fit(admissions, name, model, seed=seed, overrides=overrides)
        task = run.problem.task
        removed, constant = _removed(run)
        best = known.scores[task.name][task.horizon]
        attainable = best["constant"][task.score] - best["attainable"][task.score]
        yield {
            "seed": seed,
            "task": task.name,
            "model": model,
            "removed": removed,
            "attainable": attainable,
            "share": removed / attainable,
            "baseline": constant,
        }


def means(found: pd.DataFrame) -> pd.DataFrame:
    """Average the shares over the tables, with a 95 % t interval where there are several."""
    lines = []
    for (task, model), one in found.groupby(["task", "model"], sort=False):
        values = one["share"].to_numpy()
        spread = mean_interval(values) if len(values) > 1 else None
        low, high = (spread.low, spread.high) if spread else (np.nan, np.nan)
        lines.append((task, model, len(values), values.mean().round(3), round(low, 3), round(high, 3)))
    return pd.DataFrame(lines, columns=["task", "model", "tables", "share", "low", "high"])


def _removed(run: FittedRun) -> tuple[float, float]:
    """The loss that a model removes on the test part, and that of the constant; means over admissions."""
    model_loss, constant_loss = (run.units.mean(run.losses(predicted)) for predicted in (run.predicted, run.constant()))
    return constant_loss - model_loss, constant_loss


if __name__ == "__main__":
    main()
