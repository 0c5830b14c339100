"""Tables that are no admissions as one knows them, and files of a user that are called as the package's: kinds, each
with other members than the one that was found.
"""

import shlex

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import ValidationError

import hi_ml
from hi_ml.app.config import build, compose, conf_dir
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.schema import Dataset

N = 3000
STAY = {"length_of_stay": {"kind": "number", "known": "discharge", "unit": "days"}}
CODE = {"kind": "category", "known": "admission"}
NUMBER = {"kind": "number", "known": "admission"}


@pytest.fixture
def told(tmp_path):
    """Write a table, describe its columns, read it; the folder of options has a task ``count`` of its ``icu_days``."""
    (tmp_path / "task").mkdir()
    count = {"name": "count", "target": "icu_days", "kind": "regression", "unit": "days", "horizon": "stay"}
    (tmp_path / "task" / "count.yaml").write_text(yaml.safe_dump({**count, "score": "mae", "features": None}))

    def tell(table, columns, **keys):
        pd.DataFrame(table).to_csv(tmp_path / "mine.csv", index=False)
        node = {"name": "mine", "source": str(tmp_path / "mine.csv"), "columns": columns, **keys}
        return hi_ml.read(build(Dataset, node))

    return tell


# A user's file that is called as one of the package's

SAID = {
    "dataset/kaggle": ("train", {"stay": "inclusive"}, lambda node: node["dataset"]["stay"] == "inclusive"),
    "task/billing": ("train", {"scale": "log"}, lambda node: node["tasks"]["billing"]["scale"] == "log"),
    "split/temporal": ("train", {"train": 0.5, "test": 0.3}, lambda node: node["split"]["test"] == 0.3),
    "model/linear": ("train", {"name": "own"}, lambda node: node["model"]["name"] == "own"),
    "finding/emergency_stay": (
        "findings", {"smallest_group": 77}, lambda node: node["findings"]["emergency_stay"]["smallest_group"] == 77,
    ),
    "report/default": ("report", {"17": "yes"}, lambda node: node["report"]["17"] == "yes"),
}  # fmt: skip


def own(folder, option, changes, suffix=".yaml"):
    """Copy an option of the package into a folder of the user's, and change it."""
    text = (conf_dir() / f"{option}.yaml").read_text(encoding="utf-8")
    head = "".join(line for line in text.splitlines(keepends=True)[:1] if line.startswith("# @package"))
    path = folder / f"{option}{suffix}"
    path.parent.mkdir(parents=True)
    path.write_text(head + yaml.safe_dump(yaml.safe_load(text) | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize("option", SAID)
def test_a_users_file_comes_before_the_packages_of_the_same_name(tmp_path, option):
    command, changes, holds = SAID[option]
    assert not holds(compose(command, option.replace("/", "=")))
    own(tmp_path, option, changes)
    assert holds(compose(command, option.replace("/", "="), config_dir=tmp_path))


@pytest.mark.parametrize("name", ["dataset/kaggle", "model/linear", "task/billing"])
def test_a_users_file_that_hydra_would_pass_over_for_its_ending_is_refused_by_name(tmp_path, name):
    path = own(tmp_path, name, {}, suffix=".yml")
    with pytest.raises(ConfigurationInvalid) as refused:
        compose("train", name.replace("/", "="), config_dir=tmp_path)
    assert str(path) in str(refused.value)
    assert f"{path.stem}.yaml" in str(refused.value)


@pytest.mark.parametrize("name", ["train", "house", "hydra/job_logging/house"])
def test_a_users_file_that_would_change_a_command_is_refused_and_both_are_named(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((conf_dir() / f"{name}.yaml").read_bytes())
    compose("train", config_dir=tmp_path)  # a copy of conf/ says nothing else
    path.write_text("seed: 7\n", encoding="utf-8")
    with pytest.raises(ConfigurationInvalid) as refused:
        compose("train", config_dir=tmp_path)
    assert str(path) in str(refused.value)
    assert str(conf_dir() / f"{name}.yaml") in str(refused.value)


# Codes of which half are missing: the skill is that of an oracle, which knows each code's median


def skill(run):
    """Share of the absolute error of the constant median that a fitted run removes."""
    return 1 - run.losses().mean() / run.losses(run.constant()).mean()


def codes(rng, *, known, levels=12):
    code = rng.integers(levels, size=N)
    return code, rng.random(N) < known


def half_missing(kind, rng):
    """A table, its columns, and what stays were drawn around."""
    code, known = codes(rng, known=0.3 if kind == "70 % are missing" else 0.48)
    nights = np.where(known, 2.0 + code % 6 * 2, 7.0)
    written = (code + 4000.0 if kind == "codes written as numbers" else np.char.add("P", code.astype(str))).astype(
        object
    )
    empty, missing = ("not coded", ["Not coded"]) if kind == "another word" else ("", None)
    table = {"procedure": np.where(known, written, empty)}
    columns = {"procedure": {**CODE, "missing": missing}, "age": NUMBER}
    if kind == "two columns":
        other, too = codes(rng, known=0.45, levels=4)
        nights = nights + np.where(too, 2.0 * other, 3.0)
        table["diagnosis"] = np.where(too, np.char.add("D", other.astype(str)), "")
        columns["diagnosis"] = CODE
    return table, columns, nights


@pytest.mark.parametrize("kind", ["70 % are missing", "two columns", "codes written as numbers", "another word"])
def test_codes_of_which_half_are_missing_are_used_for_what_they_are_worth(told, kind):
    rng = np.random.default_rng(1)
    table, columns, nights = half_missing(kind, rng)
    stay = np.round(nights + rng.normal(0, 1, N)).clip(0)
    table |= {"age": rng.integers(18, 90, N), "length_of_stay": stay}
    run = hi_ml.fit(told(table, columns | STAY), "length_of_stay", "lgbm")
    test = run.problem.row[run.problem.where("test")] - 1
    oracle = 1 - np.abs(stay - nights)[test].mean() / run.losses(run.constant()).mean()
    verdict = hi_ml.assess(run, "verdict")["verdict"]
    assert oracle > 0.3
    assert skill(run) == pytest.approx(oracle, abs=0.06)
    assert (verdict.verdict, verdict.score) == ("signal", "mae")


# Counts that are mostly zero: the median can say nothing, the mean can


def zeros(kind, rng):
    """Counts, and the mean that each row's was drawn around."""
    ward = rng.integers(3, size=N)
    if kind == "nine in ten":
        mean = np.array([0.01, 0.05, 0.3])[ward]
        return ward, rng.poisson(mean), mean
    if kind == "a long tail":
        mean = np.array([0.1, 0.4, 1.2])[ward]
        return ward, rng.negative_binomial(0.3, 0.3 / (0.3 + mean)), mean
    mean = np.array([0.2, 0.9, 1.5])[ward]  # nights of a day clinic, of which few are spent
    return ward, np.where(rng.random(N) < 0.4, rng.poisson(mean * 2.5), 0), mean


@pytest.mark.parametrize("kind", ["nine in ten", "a long tail", "a stay"])
def test_of_counts_that_are_mostly_zero_the_mean_tells_and_the_median_cannot(told, tmp_path, kind):
    ward, count, mean = zeros(kind, np.random.default_rng(2))
    assert (count == 0).mean() > 0.6
    role, task = ("length_of_stay", "length_of_stay") if kind == "a stay" else ("icu_days", "count")
    table = {"ward": np.array(["A", "B", "C"])[ward], "age": 20 + np.arange(N) % 70, role: count}
    columns = {"ward": CODE, "age": NUMBER, role: {"kind": "number", "known": "discharge", "unit": "days"}}
    run = hi_ml.fit(told(table, columns), task, "lgbm", config_dir=tmp_path)
    found = hi_ml.assess(run, "verdict")["verdict"]
    assert (found.verdict, found.reason, found.score) == ("inconclusive", "the median cannot tell", "mae")
    (of_mean,) = found.others
    test = run.problem.row[run.problem.where("test")] - 1
    oracle = 1 - ((count - mean) ** 2)[test].mean() / ((count - count[test].mean()) ** 2)[test].mean()
    assert (of_mean.score, of_mean.verdict) == ("rmse", "signal")
    assert of_mean.skill == pytest.approx(oracle, abs=0.04)


# Hospitals whose bills go with their size: a shrunken mean lies between the recorded one and that of all


def bills(kind, rng):
    """The hospital of each admission, and its bill."""
    if kind == "long tails":
        sizes, level = [300] * 10 + [40] * 40, [120_000] * 10 + [30_000] * 40
        house = np.repeat(np.arange(50), sizes)
        return house, np.array(level)[house] * rng.lognormal(0, 0.8, len(house))
    if kind == "three large, a hundred small":
        house = np.repeat(np.arange(103), [800] * 3 + [30] * 100)
        return house, np.where(house < 3, 90_000, 25_000) + rng.normal(0, 9_000, len(house))
    if kind == "hospitals of one admission":
        house = np.repeat(np.arange(420), [200] * 10 + [60] * 10 + [1] * 400)
        return house, np.where(house < 10, 60_000, 30_000) + rng.normal(0, 15_000, len(house))
    house = np.repeat(np.arange(40), [250] * 8 + [40] * 32)  # small ones are the dear ones
    return house, np.where(house < 8, 20_000, 50_000) + 200 * house + rng.normal(0, 12_000, len(house))


@pytest.mark.parametrize(
    "kind", ["long tails", "three large, a hundred small", "hospitals of one admission", "the small are dear"]
)
def test_the_bar_of_every_hospital_lies_between_its_recorded_mean_and_that_of_all(told, kind):
    house, billed = bills(kind, np.random.default_rng(3))
    billed = np.round(np.maximum(billed, 100), 2)
    name = [f"H{number:03d}" for number in house]
    columns = {"hospital": CODE, "billed": {"kind": "number", "known": "after"}, "age": NUMBER}
    admissions = told({"hospital": name, "billed": billed, "age": 20 + np.arange(len(house)) * 7 % 70}, columns)
    (finding,) = hi_ml.state_claims(admissions, "billing_variation")
    table = finding.tables["hospital_effects"]
    recorded = pd.Series(billed).groupby(name).mean()
    assert len(table) == (np.bincount(house) >= 30).sum() > 10
    np.testing.assert_allclose(table["mean"], recorded[table["hospital"]], rtol=1e-9)
    named = np.bincount(house)[house] >= 5  # hospitals of fewer patients are nobody's, see `smallest_cell`
    np.testing.assert_allclose(table["centre"], billed[named].mean(), rtol=1e-9)
    bar = table["centre"] + table["effect"]
    assert (bar > np.minimum(table["mean"], table["centre"])).all()
    assert (bar < np.maximum(table["mean"], table["centre"])).all()
    assert (table["low"] < table["effect"]).all()
    assert (table["effect"] < table["high"]).all()


# Top codes: kept and flagged where they are declared, else the run says which values it set aside

TOP = {
    "60 +": ("length_of_stay", 60), "> 59": ("length_of_stay", 59), "60 or more": ("length_of_stay", 60),
    "at least 60": ("length_of_stay", 60), "90+": ("age", 90), "85 and over": ("age", 85), ">= 70": ("age", 70),
    "80 plus": ("age", 80), "50000+": ("billed", 50_000),
}  # fmt: skip


def topped(code):
    rng = np.random.default_rng(4)
    role, bound = TOP[code]
    table = {"length_of_stay": rng.gamma(1, 13, 500).round(), "age": rng.integers(18, 99, 500).astype(float)}
    table |= {"billed": rng.gamma(2, 10_000, 500).round(), "ward": np.array(["A", "B"])[np.arange(500) % 2]}
    high = table[role] > bound
    right = np.where(high, bound, table[role])
    table[role] = np.where(high, code, table[role].astype(int).astype(str))
    columns = {"length_of_stay": {"known": "discharge"}, "age": NUMBER, "billed": {"known": "after"}, "ward": CODE}
    return role, table, {key: {"kind": "number", **said} for key, said in columns.items() if key != "ward"}, high, right


@pytest.mark.parametrize("code", TOP)
def test_a_top_code_is_kept_and_flagged_in_any_spelling(told, code):
    role, table, columns, high, right = topped(code)
    read = told(table, {**columns, "ward": CODE, role: {**columns[role], "top": code}})
    assert (len(read.table), len(read.rejected)) == (500, 0)
    assert read.table[role].mean() == pytest.approx(right.mean())
    assert read.topped[role].tolist() == high.tolist()
    assert read.counts[f"top_coded.{role}"] == high.sum() > 0


@pytest.mark.parametrize("code", TOP)
def test_a_top_code_that_nobody_declared_is_told_with_the_key_that_keeps_it(told, code):
    role, table, columns, high, _ = topped(code)
    read = told(table, {**columns, "ward": CODE}, max_rejected=0.9)
    (said,) = [line for line in read.warnings if "top codes" in line]
    assert f"{high.sum():,} cells" in said
    assert f'++dataset.columns.{role}.top="{code}"' in said
    assert len(read.table) == 500 - high.sum()


@pytest.mark.parametrize("code", ["<30", "30 or younger", "up to 30"])
def test_a_bound_at_the_lower_end_is_told_and_is_no_top_code(told, code):
    age = np.arange(500) % 60 + 25
    cells = np.where(age < 30, code, age.astype(str))
    columns = {"age": NUMBER, **STAY}
    table = {"age": cells, "length_of_stay": np.arange(500) % 9}
    (said,) = told(table, columns, max_rejected=0.9).warnings
    assert f"{(age < 30).sum()} cells (such as '{code}')" in said
    assert "the smallest values are what was set aside" in said
    key = OverridesParser.create().parse_override(shlex.split(said.rpartition(": ")[2].rstrip("."))[0])
    assert key.key_or_group == "dataset.columns.age.missing"
    read = told(table, {**columns, "age": {**NUMBER, "missing": key.value()}})
    assert (len(read.table), read.table["age"].isna().sum()) == (500, (age < 30).sum())
    with pytest.raises(ValidationError, match="top takes words such as"):
        told(table, {**columns, "age": {**NUMBER, "top": code}})
