"""A table like none of those that ship goes through the commands, and what is planted in it is found."""

import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml import compare, describe, findings, predict, report, train

KEY = {"patient_id": ["स्थान", "संख्या"], "known": {"admission": ["वार्ड", "अंक", "ताप"]}}
STAY = {"from": "घंटे", "kind": "number", "unit": "hours", "known": "discharge", "decimal": ","}
TASK = {"name": "hours", "target": "length_of_stay", "kind": "regression", "unit": "hours", "horizon": "admission"}
TASK |= {"score": "mae"}
CLAIM = {"claim": "Who has more points stays longer.", "kind": "trend", "of": "length_of_stay", "by": "अंक"}
CLAIM |= {"smallest_effect": 1}


@pytest.mark.slow
def test_a_table_in_hours_without_dates_or_bills_in_another_script(here, inside):
    """Stays grow by four hours a point. The key of a patient has two parts, decimals have commas."""
    rng, n = np.random.default_rng(0), 900
    points, heat = rng.integers(0, 20, n), 37 + rng.normal(0, 0.7, n)
    hours = 4 * points + rng.gamma(4, 3, n)
    rows = {
        "स्थान": rng.choice(["क", "ख"], n),
        "संख्या": rng.integers(1, 300, n),
        "वार्ड": [f"अस्पताल {row // 12}" for row in range(n)],
        "अंक": points,
        "ताप": np.char.replace(heat.round(1).astype(str), ".", ","),
        "घंटे": np.char.replace(hours.round(1).astype(str), ".", ","),
    }
    pd.DataFrame(rows).to_csv("icu.csv", sep=";", index=False)
    said = {"name": "icu", "source": "icu.csv", "separator": ";", "decimal": ",", **KEY}
    files = {"dataset/icu": {**said, "columns": {"length_of_stay": STAY}}, "task/hours": TASK, "finding/more": CLAIM}
    for name, node in files.items():
        path = here / "mine" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(node, allow_unicode=True), encoding="utf-8")
    mine = ("--config-dir", "mine", "dataset=icu")

    def run(main, *words):
        ended = inside(main, *words)
        assert ended.code == 0, ended.stderr
        return ended.stdout

    assert "hours at admission, linear: SIGNAL" in run(
        train.main, *mine, "task=hours", "model=linear", "hydra.run.dir=run"
    )
    run(train.main, *mine, "task=hours", "model=baseline")
    assert "linear" in run(compare.main, *mine, "task=hours")
    assert "\n  SUPPORTED\n" in run(findings.main, *mine, "finding=[more]")
    run(predict.main, *mine, "task=hours", "input=icu.csv", "output=scored.parquet", "reasons=2")
    assert "is what its manifest claims" in run(predict.main, "verify=scored.parquet.manifest.json")
    run(report.main, "run=run/hours")
    run(describe.main, "source=icu.csv", "hydra.run.dir=drafted")
    drafted = yaml.safe_load((here / "drafted/dataset/icu.yaml").read_text("utf-8"))
    assert drafted["columns"]["घंटे"] == {"kind": "number", "decimal": ","}
