"""What can be told of admissions with diabetes, when, of whom, by which model?

    python experiments/diabetes130.py --output experiments/diabetes130.csv [--models lgbm linear ...]
        [--tasks readmission_30d length_of_stay] [--horizons discharge admission] [--rows all first]
        [--seeds 0 1 2 3 4] [--coverage]

Each line of the output is a model of a task at a moment on one split of conf/dataset/diabetes130.yaml, of all
encounters or of the first of each patient; lines that are there are not made again. Then their means over the splits.
"""

import argparse
from itertools import product
from pathlib import Path

import pandas as pd

import hi_ml
from hi_ml.data.read import Admissions
from hi_ml.statistics.groups import mean_interval

ROWS = {"all": None, "first": "patient_id"}
CELL = ["rows", "task", "horizon", "model", "seed"]
FIGURES = ["score", "r2_of_mean", "observed_less_predicted", "covered"]


def main() -> None:
    """Make the lines that are missing, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--tasks", nargs="+", default=["readmission_30d", "length_of_stay"])
    parser.add_argument("--horizons", nargs="+", default=["discharge", "admission"])
    parser.add_argument("--models", nargs="+", default=["lgbm", "linear"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--coverage", action="store_true", help="of intervals, too: a stay's need two more fits")
    asked = parser.parse_args()
    for rows in asked.rows:
        cells = product([rows], asked.tasks, asked.horizons, asked.models, asked.seeds)
        if missing := [cell for cell in cells if cell not in _made(asked.output)]:
            admissions = hi_ml.read("diabetes130", first_by=ROWS[rows])
            for cell in missing:
                made = dict(zip(CELL, cell, strict=True)) | figures(admissions, *cell[1:], coverage=asked.coverage)
                pd.DataFrame([made]).to_csv(
                    asked.output, mode="a", header=not asked.output.exists(), index=False, float_format="%.5f"
                )
    print(means(pd.read_csv(asked.output)).to_string(index=False))


def figures(
    admissions: Admissions, task: str, horizon: str, model: str, seed: int, *, coverage: bool
) -> dict[str, float | str]:
    """Fit one model and judge it: the primary score with its interval by patient, calibration, coverage."""
    run = hi_ml.fit(admissions, task, model, seed=seed, overrides=[f"horizon={horizon}"])
    results = hi_ml.assess(run, "verdict", *(["intervals"] if coverage else []), "scores", "calibration")
    verdict, scores = results["verdict"], results["scores"].set_index("score")
    score = scores.loc[run.problem.task.score]
    calibration = results["calibration"].dropna(subset=["value", "ideal"])
    missed = (calibration["ideal"] < calibration["low"]) | (calibration["ideal"] > calibration["high"])
    labels = bool(run.problem.labels)
    likely = run.predicted[:, -1] if labels else run.predicted
    others = {one.score: one for one in verdict.others}
    return {
        "score": score["value"],
        "low": score["low"],
        "high": score["high"],
        "baseline": score["baseline"],
        "verdict": verdict.verdict,
        "r2_of_mean": others["rmse"].skill if "rmse" in others else float("nan"),
        "observed_less_predicted": run.units.mean(run.target - likely),  # of the last label, the days of a stay
        "ideals": len(calibration),
        "ideals_missed": int(missed.sum()),
        "covered": scores["value"].get("coverage", float("nan")),
    }


def means(made: pd.DataFrame) -> pd.DataFrame:
    """Average each figure over the splits; the primary score with a 95 % t interval where there are several."""
    lines = []
    for cell, one in made.groupby(CELL[:-1], sort=False):
        spread = mean_interval(one["score"].to_numpy()) if len(one) > 1 else None
        low, high = (spread.low, spread.high) if spread else (float("nan"), float("nan"))
        lines.append(
            dict(zip(CELL[:-1], cell, strict=True))
            | {"splits": len(one), **one[FIGURES].mean(), "low": low, "high": high}
            | {"far_off": one["observed_less_predicted"].abs().max(), "missed": one["ideals_missed"].sum()}
            | {"of": one["ideals"].sum()}
        )
    return pd.DataFrame(lines).round(4)


def _made(output: Path) -> set[tuple[object, ...]]:
    return set(pd.read_csv(output)[CELL].itertuples(index=False, name=None)) if output.exists() else set()


if __name__ == "__main__":
    main()
