"""What the environment holds is written back as the reference to it, and stands in no byte that a run leaves."""

import pyarrow.csv
import pytest
from omegaconf import OmegaConf

from hi_ml import describe, predict, train
from hi_ml import simulate as simulating
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.references import as_read, as_written, hold_references
from hi_ml.data.simulation import simulate

CANARY = "quuxflorbel"


@pytest.fixture
def held(monkeypatch):
    """Hold the references of a configuration, of which one variable holds a value."""
    yield lambda value, node: (monkeypatch.setenv("SECRET", value), hold_references(OmegaConf.create(node)))
    hold_references({})


@pytest.mark.parametrize(
    "node",
    [
        {"dataset": {"source": "${oc.env:SECRET}/a.csv"}},
        {"dataset": {"joins": {"a survey": {"source": "${oc.env:SECRET}/b.csv"}}}},
        {"dataset": {"source": {"url": "sqlite:///${oc.env:SECRET}/a.db"}}},
        {"input": "${oc.env:SECRET}/*.csv", "output": "${input}.parquet"},
        {"runs": ["${oc.env:SECRET,other}/r"], "log": {"path": "${oc.env:SECRET}"}},
    ],
)
def test_a_path_or_an_address_is_known_by_its_reference(held, node):
    held(f"/home/{CANARY}", node)
    written = as_written(f"/home/{CANARY}/a.csv")
    assert CANARY not in written
    assert as_read(written) == f"/home/{CANARY}/a.csv"


@pytest.mark.parametrize(
    "node",
    [
        {"dataset": {"name": "${oc.env:SECRET}"}},
        {"dataset": {"columns": {"source": {"from": "${oc.env:SECRET}"}}}},
        {"dataset": {"columns": {"a": {"levels": {"source": "${oc.env:SECRET}"}}}}},
        {"dataset": {"missing": ["?", "${oc.decode:${oc.env:SECRET}}"]}},
        {"dataset": {"source": {"url": "sqlite:///a.db", "password_from": "${oc.env:SECRET}"}}},
        {"model": {"regression": {"_target_": "${oc.env:SECRET}"}}},
        {"report": {"18e": "by ${oc.env:SECRET}"}},
    ],
)
def test_any_other_text_of_the_environment_is_refused_by_its_key_alone(held, node):
    with pytest.raises(ConfigurationInvalid, match="takes its text from an environment variable") as refused:
        held(CANARY, node)
    assert CANARY not in str(refused.value)


def test_numbers_of_the_environment_are_settings(held):
    held("17", {"seed": "${oc.env:SECRET}", "tracking_seconds": "${oc.env:SECRET}", "max_rejected": float("nan")})
    assert as_written("data/17.csv") == "data/17.csv"


@pytest.mark.slow
def test_a_canary_of_the_environment_is_in_no_file_of_any_command(inside, tmp_path, monkeypatch):
    place = tmp_path / CANARY
    place.mkdir()
    pyarrow.csv.write_csv(simulate("planted", 300, seed=1, hospitals=5).table, place / "admissions.csv")
    monkeypatch.setenv("SECRET", str(place))
    table = ("dataset=kaggle", "dataset.source=${oc.env:SECRET}/admissions.csv")
    model = ("task=length_of_stay", "model=baseline", "explain.rows=5", "interval=null")
    scored = ("input=${oc.env:SECRET}/*.csv", "output=scored.csv", *table, "task=length_of_stay")
    for main, words in [
        (train.main, (*table, *model)),
        (describe.main, ("source=${oc.env:SECRET}/admissions.csv",)),
        (predict.main, scored),
        (predict.main, ("verify=scored.csv.manifest.json",)),
    ]:
        ended = inside(main, *words)
        assert ended.code == 0, ended.stderr
    notes = tmp_path / ".hi_ml"
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(place)]
    assert {"mlflow.db", "report.html", "describe.html", "scored.csv.manifest.json"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes() and not path.is_relative_to(notes)] == []


@pytest.mark.slow
def test_a_joined_table_of_the_environment_is_in_no_file_of_several_tasks(inside, tmp_path, monkeypatch):
    """Models are packaged by another process then, which holds no references of its own."""
    place = tmp_path / CANARY
    place.mkdir()
    ended = inside(simulating.main, "rows=600", f"output={place}/admissions.csv")
    assert ended.code == 0, ended.stderr
    monkeypatch.setenv("SECRET", str(place))
    ended = inside(
        train.main, "dataset=joined", "dataset.source=${oc.env:SECRET}/admissions.csv", "model=linear",
        "dataset.joins.survey.source=${oc.env:SECRET}/admissions.survey.csv", "explain.rows=0", "interval=null",
        "dataset.joins.outcomes.source=${oc.env:SECRET}/admissions.outcomes.csv", "task=[length_of_stay,billing]",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    notes = tmp_path / ".hi_ml"
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(place)]
    mappings = [path.read_text() for path in files if path.name == "mapping.json" and "run" in path.parts]
    assert [text.count("${oc.env:SECRET}/admissions.survey.csv") for text in mappings] == [1, 1]
    assert [path for path in files if CANARY.encode() in path.read_bytes() and not path.is_relative_to(notes)] == []
