"""Does `hi_ml.validate` say of another table what is true of it?

    python experiments/external.py acceptance [--simulations 200]
    python experiments/external.py tables [--rows 22000]
    python experiments/external.py diabetes130

`acceptance`: predictions whose true log-odds are known, at home and elsewhere; no model is fitted. `tables`: simulated
tables with planted shifts, through the commands. `diabetes130`: a model of the earlier encounters on the later ones,
and one of other payers on Medicare.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hi_ml.evaluation.transport import STAGES, AtHome, Margins, Transport, measures, transport
from hi_ml.modeling.scores.score import Baseline, Predictions
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.groups import Units

HOME, THERE = 11_000, 20_000  # admissions: of the test part of a usual run, and of the other table
TASK = Task("abnormal", "test_result", "classification", "label", "admission", "log_loss")
ABNORMAL = """# @package tasks.abnormal
name: abnormal
target: test_result
kind: classification
positive: [Abnormal]
unit: label
horizon: stay
score: log_loss
"""


def drawn(n: int, rng: np.random.Generator, *, intercept: float = 0.0, slope: float = 1.0) -> Predictions:
    """Draw predictions of a yes or no whose true log-odds are a line in the predicted ones; three rows a patient."""
    predicted = expit(rng.normal(-1, 1, n))
    target = (rng.random(n) < expit(intercept + slope * logit(predicted))).astype(float)
    units = Units.of(np.arange(n), np.arange(n) // 3)
    return Predictions(TASK, target, np.column_stack([1 - predicted, predicted]), units, seed=0)


def at_home(predictions: Predictions) -> AtHome:
    """Measure predictions as those of a test part."""
    own = Baseline.of(TASK, predictions.target, votes=predictions.units.votes, classes=2)
    units, labels = predictions.units, ["no", "yes"]
    return AtHome(
        TASK, "mine", "home", "signal", labels, None, None, None, own.frequencies.tolist(), 0.6, units.admissions,
        len(units), list(measures(predictions, own, labels)), None, [], "",
    )  # fmt: skip


def simulated(count: int, **shift: float) -> Iterator[Transport]:
    """Validate so many models on a table each."""
    for seed in range(count):
        rng = np.random.default_rng([seed, 17])
        yield transport(at_home(drawn(HOME, rng)), drawn(THERE, rng, **shift), Margins(), place="there")


def acceptance(count: int) -> None:
    """Count the verdicts, and how often the planted line lies inside of its interval."""
    for shift in ({}, {"intercept": 0.5}, {"slope": 0.7}):
        found = list(simulated(count, **shift))
        said = ", ".join(f"{word} {n}" for word, n in Counter(one.verdict for one in found).most_common())
        print(f"{shift or 'identical'}: {said}, of {count}")
        for measure, planted in shift.items():
            rows = [one.table[one.table["stage"].eq(STAGES[0]) & one.table["measure"].eq(measure)] for one in found]
            table = pd.concat(rows)
            held = int(table["low"].le(planted).mul(table["high"].ge(planted)).sum())
            mean = table["value"].mean()
            print(f"  {measure} {planted} inside of its 95 % interval: {held} of {count}; mean {mean:.4f}")


def run(folder: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    line = [sys.executable, "-m", f"hi_ml.{command}", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 -- our own words


def validated(folder: Path, name: str, *words: str) -> None:
    """Validate, and print the verdict, or the sentence that refuses."""
    place = f"hydra.run.dir={name}"
    ended = run(folder, "validate", "tracking=none", place, *words)
    if ended.returncode:
        print(f"{name}: refused. {ended.stderr.strip().splitlines()[-1]}")
        return
    found = json.loads((folder / name / "validation.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / name / "transport.csv")
    raw = table[table["stage"] == STAGES[0]]
    lines = [
        f"{row.measure} {row.value:.3f} ({row.low:.3f} to {row.high:.3f}; home {row.home:.3f})"
        for row in raw.itertuples()
    ]
    print(f"{name}: {found['verdict']}, {found['n_admissions']:,} admissions. {'; '.join(lines)}")
    skills = table[(table["measure"] == "skill") & (table["stage"] != STAGES[0])]
    print("  skill " + ", ".join(f"{row.stage} {row.value:.3f} ({row.state})" for row in skills.itertuples()))


def tables(rows: int) -> None:
    """Plant shifts in a simulated table, and validate a model of another one on each."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "mine" / "task").mkdir(parents=True)
        (folder / "mine" / "task" / "abnormal.yaml").write_text(ABNORMAL, encoding="utf-8")
        for name, seed, n in (("home", 0, 55_500), ("other", 5, rows)):
            run(folder, "simulate", f"output={name}.csv", f"seed={seed}", f"rows={n}")
        quick = ("explain.rows=0", "tracking=none", "assessments.probes=null", "assessments.leakage={}")
        train = ("--config-dir", "mine", "dataset=kaggle", "dataset.source=home.csv", "hydra.run.dir=model", *quick)
        ended = run(folder, "train", *train, "task=[abnormal,length_of_stay]", "model=linear")
        if ended.returncode:
            raise SystemExit(ended.stderr)
        other = pd.read_csv(folder / "other.csv")
        _score(folder)
        share = pd.read_parquet(folder / "scored.parquet")["p_yes"].to_numpy()
        # one draw an admission: copies whose outcomes differ would be none, and count twice
        uniform = pd.util.hash_pandas_object(other[["Name", "Date of Admission"]], index=False).to_numpy() / 2.0**64
        shifts = {
            "same": other,
            "intercept_0.5": other.assign(**{"Test Results": _drawn(expit(0.5 + logit(share)), uniform)}),
            "slope_0.7": other.assign(**{"Test Results": _drawn(expit(0.7 * logit(share)), uniform)}),
            "case_mix": other[(other["Admission Type"] == "Emergency") & (other["Age"] >= 50)],  # noqa: PLR2004 -- years
            "months": other.assign(Age=12 * other["Age"]),
        }
        for name, table in shifts.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        high = ("dataset.columns.age.high=null",)
        for task, names in (("abnormal", list(shifts)), ("length_of_stay", ["same", "case_mix"])):
            for name in names:
                model = (f"model_uri=model/{task}", "dataset=kaggle", f"dataset.source={name}.csv")
                validated(folder, f"{task}_{name}", *model, *(high if name == "months" else ()))
        model = ("model_uri=model/length_of_stay", "dataset=kaggle", "dataset.source=same.csv")
        validated(folder, "length_of_stay_inclusive", *model, "dataset.stay=inclusive")


def _score(folder: Path) -> None:
    words = ("model_uri=model/abnormal", "dataset=kaggle", "input=other.csv", "output=scored.parquet")
    ended = run(folder, "predict", *words)
    if ended.returncode:
        raise SystemExit(ended.stderr)


def _drawn(share: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    return np.where(uniform < share, "Abnormal", "Normal")


def diabetes130() -> None:
    """Cut the table by the order of its encounters, and by payer; train on one side, validate on the other."""
    source = Path("data/raw/diabetic_data.csv").resolve()
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    number = table["encounter_id"].astype(int)
    early, medicare = number <= number.quantile(0.6), table["payer_code"] == "MC"
    late = ~early & ~table["patient_nbr"].isin(table.loc[early, "patient_nbr"])
    others = ~medicare & ~table["payer_code"].eq("?")
    medicare &= ~table["patient_nbr"].isin(table.loc[others, "patient_nbr"])
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, home, there in (("later_encounters", early, late), ("medicare", others, medicare)):
            for side, rows in (("home", home), ("there", there)):
                table[rows].to_csv(folder / f"{name}_{side}.csv", index=False)
            asked = ("dataset=diabetes130", f"dataset.source={name}_home.csv", "task=readmission_30d")
            quick = ("explain.rows=0", "tracking=none", "assessments.probes=null", f"hydra.run.dir=model_{name}")
            ended = run(folder, "train", *asked, *quick)
            if ended.returncode:
                raise SystemExit(ended.stderr)
            model = (f"model_uri=model_{name}/readmission_30d", "dataset=diabetes130")
            validated(folder, name, *model, f"dataset.source={name}_there.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["acceptance", "tables", "diabetes130"])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--rows", type=int, default=22_000)
    asked = parser.parse_args()
    if asked.part == "acceptance":
        acceptance(asked.simulations)
    elif asked.part == "tables":
        tables(asked.rows)
    else:
        diabetes130()
