"""Do powers, intervals, sets and promotions keep what they promise, where the answer is known?

    python experiments/acceptance.py [--only power skill lives sets amounts] [--draws 500] [--tables 40] [--seed 0]

Writes beside itself, again after every question, acceptance.csv: how often it was so, with exact 95 % limits. Answers
of other questions that stand there stay.
``--draws`` are of the questions that only statistics answer, ``--tables`` of those for which claims are stated or
models fitted.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from null_tables import admissions_of, distinct, null_table, settings, state
from scipy.special import expit
from scipy.stats import binomtest

import hi_ml
from hi_ml.evaluation.conformal import ClassForecast, Thresholds
from hi_ml.modeling.scores.score import Predictions, score_of
from hi_ml.modeling.tasks import Task
from hi_ml.statistics.conformal import coverage_band
from hi_ml.statistics.groups import Units
from hi_ml.tracking.registry import CHAMPION, PairedLosses, judge

COLUMNS = ["question", "cell", "trials", "hits", "share", "low", "high", "promise"]
Line = tuple[str, str, int, int, str]
"""Question, cell, trials, how often it was so, and what is promised."""
RESULTS = Task(
    name="results", target="test_result", kind="classification", unit="nats", horizon="admission", score="log_loss"
)
CHALLENGERS = 20
_LEVEL, _RARE = 0.9, 0.03
_TRUTH = 400_000  # patients, of whom the true skill is taken


def power(tables: int, seed: int) -> Iterator[Line]:
    """Each claim holds by twice the smallest effect that matters: 10,000 patients with 50,000 admissions."""
    hits: dict[str, int] = {}
    for number in range(seed, seed + tables):
        table = null_table(number, admissions=50_000, effect=2.0)
        for finding in state(distinct(table, number), settings()):
            hits[finding.finding] = hits.get(finding.finding, 0) + (finding.verdict == "supported")
    for name, count in hits.items():
        yield "twice the smallest effect is found", name, tables, count, "at least 90 %"


def _comebacks(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw patients who come the more often, the likelier their events: events, probabilities of them, patients."""
    frail, known = rng.normal(size=(2, patients))
    times = 1 + rng.poisson(np.exp(0.7 * frail))
    unit = np.repeat(np.arange(patients), times)
    event = rng.random(len(unit)) < expit(-1.0 + 0.8 * known + frail)[unit]
    return event.astype(float), expit(-0.8 + 0.7 * known)[unit], unit


def _skill(name: str, event: np.ndarray, said: np.ndarray, unit: np.ndarray) -> Any:
    units = Units.of(np.arange(len(unit)), unit)
    predictions = Predictions(RESULTS, event, np.column_stack([1 - said, said]), units, seed=0, draws=0)
    constant = np.tile([0.65, 0.35], (len(unit), 1))
    return score_of(replace(RESULTS, score=name), name).skill(predictions, constant).interval(0.95)


def skill(draws: int, seed: int) -> Iterator[Line]:
    """The 95 % interval of a skill, where the number of a patient's admissions depends on his outcomes."""
    rng = np.random.default_rng([seed, 1])
    names = ("log_loss", "roc_auc")
    large = _comebacks(rng, _TRUTH)
    truth = {name: _skill(name, *large).value for name in names}
    for patients in (200, 600, 2_000):
        held, asked = dict.fromkeys(names, 0), 0
        for _ in range(draws):
            drawn = _comebacks(rng, patients)
            if drawn[0].sum() < 100:  # noqa: PLR2004 -- events of which the promise speaks
                continue
            asked += 1
            for name in names:
                interval = _skill(name, *drawn)
                held[name] += interval.low <= truth[name] <= interval.high
        for name, count in held.items():
            yield f"95 % interval of the skill in {name}", f"{patients} patients", asked, count, "93 to 97 %"


def lives(draws: int, seed: int) -> Iterator[Line]:
    """Twenty challengers that are as good as a champion, all on one split or each on a split of its own."""
    rng = np.random.default_rng([seed, 2])
    rows, nobody = 1_000, np.array([], np.uint64)
    units, digest = Units.of(np.arange(rows)), np.arange(rows, dtype=np.uint64)
    for cell in ("one split", "twenty splits"):
        promoted = 0
        for _ in range(draws):
            champion = rng.gamma(2.0, 2.0, rows)
            for k in range(1, CHALLENGERS + 1):
                if cell == "twenty splits":
                    champion = rng.gamma(2.0, 2.0, rows)
                challenger = champion + rng.normal(size=rows)
                pair = PairedLosses("days", units, digest, champion, challenger)
                if judge(pair, nobody, comparisons=k).alias == CHAMPION:
                    promoted += 1
                    break
        yield "a challenger that is no better is promoted in a champion's life", cell, draws, promoted, "at most 5 %"


def sets(draws: int, seed: int) -> Iterator[Line]:
    """Label sets of which each class asks for its own level: is a class of 3 % held within the band of its cases?"""
    rng = np.random.default_rng([seed, 3])
    for cases in (2_000, 10_000):
        inside = 0
        for _ in range(draws):
            label = (rng.random(2 * cases) < _RARE).astype(float)
            said = expit(-3.5 + 1.5 * label + rng.normal(size=2 * cases))
            shares = np.column_stack([1 - said, said])
            calibration, test = np.arange(cases), np.arange(cases, 2 * cases)
            thresholds = Thresholds.of(
                ClassForecast(shares[calibration]).scores(label[calibration]), Units.of(calibration),
                label[calibration].astype(int), np.array([True, True]), level=_LEVEL, fewest=30,
            )  # fmt: skip
            held = ClassForecast(shares[test]).prediction_set(thresholds.of_levels[None]).covers(label[test])
            rare, known = label[test] == 1, int((label[calibration] == 1).sum())
            low, high = coverage_band(known, int(rare.sum()), level=_LEVEL, confidence=0.95)
            inside += low <= held[rare].mean() <= high
        yield "a class of 3 % is held within its band", f"{cases:,} calibration cases", draws, inside, "at least 95 %"


LAWS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "fractional stays": lambda rng, mean: rng.gamma(2.0, mean / 2),
    "log-normal bills": lambda rng, mean: mean * rng.lognormal(0, 1, len(mean)),
    "heteroscedastic": lambda rng, mean: 100 + mean * rng.normal(size=len(mean)),
    "whole stays": lambda rng, mean: np.ceil(rng.gamma(2.0, mean / 2)),
    "counts": lambda rng, mean: rng.poisson(mean / 4).astype(float),
}


def amounts(tables: int, seed: int) -> Iterator[Line]:
    """90 % intervals of amounts: test admissions that they hold, of all tables of a law."""
    for law, outcome in LAWS.items():
        held = asked = 0
        for number in range(seed, seed + tables):
            table = null_table(number, admissions=3_000, per_patient=1)
            mean = 4 + (table["condition"] == "Cancer") * 4 + (table["age"] / 20)
            billed = outcome(np.random.default_rng([number, 4]), mean.to_numpy(dtype=float))
            run = hi_ml.fit(admissions_of(table.assign(billed=billed)), "billing")
            covered = hi_ml.assess(run, "verdict", "intervals")["intervals"].covered
            held, asked = held + int(covered.sum()), asked + len(covered)
        promise = "88 to 92 %" if law not in ("whole stays", "counts") else "at least 88 %"
        yield "90 % interval of an amount", law, asked, held, promise


STATISTICAL, FITTED = (skill, lives, sets), (amounts, power)
QUESTIONS = {question.__name__: question for question in (*STATISTICAL, *FITTED)}


def main() -> None:
    """Ask the questions and write their table, again after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tables", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    earlier = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame(columns=COLUMNS)
    lines = []
    for name in asked.only:
        count = asked.draws if QUESTIONS[name] in STATISTICAL else asked.tables
        for question, cell, trials, hits, promise in QUESTIONS[name](count, asked.seed):
            limits = binomtest(hits, trials).proportion_ci()
            share = hits / trials
            lines.append((question, cell, trials, hits, share, limits.low, limits.high, promise))
            print(f"{question}, {cell}: {hits} of {trials} ({100 * share:.1f} %), promised {promise}", flush=True)
        answers = pd.DataFrame(lines, columns=COLUMNS).round(4)
        others = earlier[~earlier["question"].isin(answers["question"])]
        pd.concat([others, answers]).to_csv(asked.output, index=False)


if __name__ == "__main__":
    main()
