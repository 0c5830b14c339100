"""Tables of other shapes go from the draft of `describe` through every command, with what an owner has to say."""

import numpy as np
import pandas as pd
import pytest
import yaml

from hi_ml import compare, describe, findings, predict, report, track, train, tune, validate


def no_shows(rng, n):
    """Appointments in two tongues: no dates, hundreds of codes, 12 rows a clinic, a key of two parts, a yes or no."""
    late = rng.gamma(1.5, 12, n).round()
    missed = rng.random(n) < 1 / (1 + np.exp(2.6 - 0.06 * late))
    return pd.DataFrame(
        {
            "Ort/Lieu": rng.choice(["Zürich", "Genève", "Biel/Bienne"], n),
            "Kunde": rng.integers(1, n // 4, n),
            "Code": [f"C{number:04d}" for number in rng.geometric(0.005, n)],
            "Klinik": [f"Haus {row // 12}" for row in range(n)],
            "Tage/Jours": late.astype(int),
            "SMS": rng.choice(["ja", "oui", "nein", "non"], n),
            "Betrag": [f"CHF {value:,.2f}".replace(",", "'") for value in rng.gamma(2, 900, n)],
            "Termin": np.where(missed, "verpasst", "wahrgenommen"),
        }
    )


def intensive_care(rng, n):
    """A stay only, in hours with decimal commas, laboratory values side by side with a word where there is none."""
    points = rng.integers(0, 20, n)
    hours = 4 * points + rng.gamma(4, 3, n)
    sodium, blood = (np.char.replace(rng.normal(mean, 2, n).round(1).astype(str), ".", ",") for mean in (140, 12))
    return pd.DataFrame(
        {
            "Пациент": [f"П{number:04d}" for number in rng.integers(1, n // 2, n)],
            "Отделение": rng.choice(["Реанимация", "Терапия", "Хирургия"], n),
            "Баллы": points,
            "Натрий": np.where(rng.random(n) < 0.1, "не взято", sodium),
            "Гемоглобин": np.where(rng.random(n) < 0.1, "не взято", blood),
            "Часы": np.char.replace(hours.round(1).astype(str), ".", ","),
        }
    )


COMMAS = {"kind": "number", "decimal": ","}
SHAPES = {
    "termine": (
        no_shows, "cp1252", "Termin", ["Code", "Klinik", "Tage_Jours", "SMS"],
        {"Betrag": {"kind": "number", "money": "CHF", "thousands": "'"}, "Code": {"kind": "category"}},
        {"patient_id": {"from": ["Ort/Lieu", "Kunde"], "kind": "identifier", "private": True}},
    ),
    "icu": (
        intensive_care, "cp1251", "Часы", ["Отделение..Гемоглобин"],
        {"Натрий": {**COMMAS, "missing": ["", "не взято"]}, "Часы": COMMAS},
        {"patient_id": {"from": "Пациент", "kind": "identifier", "private": True}},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_draft_and_a_few_words_go_through_every_command(here, inside, name):
    draw, encoding, target, known, guessed, more = SHAPES[name]
    for number, file in enumerate((name, "theirs")):
        draw(np.random.default_rng(number), 900).to_csv(f"{file}.csv", sep=";", index=False, encoding=encoding)

    def run(main, *words):
        ended = inside(main, *words)
        assert ended.code == 0, ended.stderr
        return ended.stdout

    run(describe.main, f"source={name}.csv", f"target='{target}'", "hydra.run.dir=mine")
    path = here / f"mine/dataset/{name}.yaml"
    draft = yaml.safe_load(path.read_text("utf-8"))
    assert draft["encoding"] == encoding
    assert {role: draft["columns"][role] for role in guessed} == guessed
    draft["known"]["admission"] = known
    shown = {role: column for role, column in draft["columns"].items() if role != "Пациент"}
    draft["columns"] = {**shown, **more}
    path.write_text(yaml.safe_dump(draft, allow_unicode=True), "utf-8")
    asked = ("--config-dir", "mine", f"dataset={name}")
    (drafted,) = (file.stem for file in (here / "mine/task").iterdir())
    task = (*asked, f"task={drafted}")
    assert ", linear: SIGNAL" in run(train.main, *task, "model=linear", "hydra.run.dir=run")
    run(tune.main, *task, "model=linear", "trials=2", "folds=2")
    run(train.main, *task, "model=baseline", "tracking=none", "hydra.run.dir=untracked")
    run(track.main, f"run=untracked/{drafted}")
    assert "baseline" in run(compare.main, *task)
    claims = sorted(file.stem for file in (here / "mine/finding").iterdir())
    said = run(findings.main, *asked, f"finding=[{','.join(claims)}]")
    assert len(claims) > 1
    assert "NOT TESTABLE" not in said
    run(predict.main, *task, f"input={name}.csv", "output=scored.parquet", "reasons=2")
    assert "is what its manifest claims" in run(predict.main, "verify=scored.parquet.manifest.json")
    run(report.main, f"run=run/{drafted}")
    model = f"model_uri=models:/{name}.{drafted}@champion"
    assert "remembers it" in run(validate.main, *asked, model, "dataset.source=theirs.csv")
