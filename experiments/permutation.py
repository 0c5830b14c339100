"""Is every p-value of the permutation test as likely as any other where the columns say nothing of the target?

    python experiments/permutation.py [--tables 100] [--rows 1000] [--count 49] [--trees 20] [--model lgbm]
        [--output <csv>]

Tests each task on simulated tables without signal (dataset.scenario=noise), once with all refits and once as a run
would stop early. With all refits p is uniform on 1/(B+1), 2/(B+1), ..., 1: the Kolmogorov-Smirnov test is against the
uniform distribution on (0, 1), after each p was moved back by a random part of its step.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

import hi_ml
from hi_ml.evaluation.significance import Permutation, measure
from hi_ml.statistics.permutation import besag_clifford

TASKS = ("length_of_stay", "billing", "test_results")
STOP_AFTER = Permutation().stop_after
LEVELS = (0.05, 0.10)


def study(
    *, tables: int, rows: int, count: int, trees: int, tasks: Sequence[str] = TASKS, model: str = "lgbm"
) -> pd.DataFrame:
    """Test every task on so many tables without signal.

    Returns
    -------
    DataFrame
        ``task, seed, p, p_early``: of all refits, and stopped early.
    """
    how = Permutation(count=count, stop_after=count + 1, trees=trees)
    found = []
    for seed in tqdm(range(tables), disable=None):
        admissions = hi_ml.read("simulated", scenario="noise", rows=rows, seed=seed)
        for name in tasks:
            run = hi_ml.fit(admissions, name, model, seed=seed)
            whole = measure(run, how)
            early = besag_clifford(whole.observed, whole.permuted, stop_after=STOP_AFTER)
            found.append((name, seed, whole.p, early.p, count, len(early.permuted)))
    return pd.DataFrame(found, columns=["task", "seed", "p", "p_early", "refits", "refits_early"])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Compare the p-values of each task with the uniform distribution, and count those below two levels."""
    lines = []
    for task, of_task in found.groupby("task", sort=False):
        steps = np.random.default_rng(0).random(len(of_task)) / (of_task["refits"] + 1)
        line = {"task": task, "tables": len(of_task), "ks_p": stats.kstest(of_task["p"] - steps, "uniform").pvalue}
        for level in LEVELS:
            line |= {f"p <= {level}": (of_task["p"] <= level).mean()}
            line |= {f"early p <= {level}": (of_task["p_early"] <= level).mean()}
        lines.append(line | {"mean refits, early": of_task["refits_early"].mean()})
    return pd.DataFrame(lines)


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--count", type=int, default=49)
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--model", default="lgbm")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = vars(parser.parse_args())
    output = asked.pop("output")
    found = study(**asked)
    found.to_csv(output, index=False)
    print(summary(found).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
