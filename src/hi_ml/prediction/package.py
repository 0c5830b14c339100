"""The fitted pipeline as an MLflow model: code, mapping and skops, never a pickle."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import pandas as pd

from hi_ml.app.errors import ModelUnservable
from hi_ml.app.files import write_json
from hi_ml.app.references import as_written
from hi_ml.data import attrition
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.table import rules_of
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.evaluation.transport import AtHome
from hi_ml.modeling.features import Features
from hi_ml.modeling.models import Fitted
from hi_ml.modeling.tasks import Task
from hi_ml.prediction import drift
from hi_ml.prediction.external import HOME
from hi_ml.prediction.load import SIGNED, digest, invent_admission
from hi_ml.scorer import serving

_SERVES = ("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")  # what serving.py and the pipeline need
_SCHEMA = "schema.json"  # of a skops archive
_RANDOM = ("model_guid", "train_finish_time")  # what CatBoost notes of itself


def mapping(
    task: Task,
    fitted: Fitted,
    features: Features,
    *,
    labels: list[str],
    seen: pd.DataFrame,
    interval: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe how raw columns become the features of this model, and its predictions an answer.

    Parameters
    ----------
    labels : list of str
        Of the task; empty for regression.
    seen : DataFrame, shape (n_train, n_features)
        The training rows: a level that none of them holds is no level of the model.
    interval : dict, optional
        How the prediction gets its interval, see `hi_ml.scorer.serving`.
    """
    roles = list(dict.fromkeys(features.role[name] for name in fitted.features))
    columns = []
    for role in roles:
        spec = dict(features.specs[role])
        if "levels" in spec:
            present = set(seen[role].dropna().astype(int))
            spec["levels"] = [level if code in present else None for code, level in enumerate(spec["levels"])]
        columns.append(spec)
    return {
        "task": task.name,
        "kind": task.kind,
        "target": task.target,
        "unit": task.unit,
        "horizon": task.horizon,
        "labels": labels,
        "columns": columns,
        "features": fitted.features,
        "interval": interval,
        "recalibration": asdict(fitted.recalibration) if fitted.recalibration else None,
        "scale": fitted.scale.describe(),
        "centre": _centre(fitted, seen),
    }


def _centre(fitted: Fitted, seen: pd.DataFrame) -> list[float] | None:
    """The mean of the encoded training rows, from which a linear model's contributions are counted; of no other use."""
    if not hasattr(fitted.pipeline[-1], "coef_"):
        return None
    centre: list[float] = fitted.encode(seen).mean(axis=0).tolist()
    return centre


def other_columns(dataset: Dataset) -> dict[str, Any]:
    """Say of the columns that are no features what scoring must know of them: further keys of the `mapping`.

    Returns
    -------
    dict
        ``private``: the kinds of the private columns, by source name; ``id``: the source name of the identifier that
        goes with each prediction, or None; ``missing``: the words for it; ``stay``: what a length of stay counts;
        ``joins``: the tables whose columns are joined, where there are some; ``rules``: how rows are made
        of the source, where they are; ``drop``: the rules that leave rows out, where there are some.
    """
    present = dataset.present().values()
    ids = [column.source for column in present if column.kind == "identifier" and not column.private]
    own = next((name for name in ids if isinstance(name, str)), None)
    described = {"private": dataset.private_sources(), "id": own, "missing": dataset.missing, "stay": dataset.stay}
    joins = [dataset.joined(name) for name in dataset.joins]
    joins = [join | {"source": as_written(join["source"])} for join in joins]
    further = {"joins": joins, "rules": rules_of(dataset.origin), "drop": attrition.rules_of(dataset)}
    return described | {name: value for name, value in further.items() if value}


def save_run(folder: Path, run: FittedRun, others: Mapping[str, Any], *, table: str) -> None:
    """Write the MLflow model of a run, with the bounds of its intervals where it has some; raises as `save`.

    Parameters
    ----------
    folder : Path
        Does not exist yet.
    others : mapping
        The `other_columns` of the dataset that the run read.
    table : str
        The name of that dataset.
    """
    problem, conformal = run.problem, run.results.get("intervals")
    fitted, interval = (run.fitted, None) if conformal is None else (conformal.fitted, conformal.description)
    train = problem.where("train")
    seen = problem.features.frame[train]
    described = mapping(problem.task, fitted, problem.features, labels=problem.labels, seen=seen, interval=interval)
    group, smallest = problem.group[train], problem.features.smallest
    reference = drift.profile(seen, described["columns"], group, smallest=smallest)
    beside = {drift.FILE: reference, HOME: AtHome.of(run, table).plain()}
    save(folder, fitted, described | dict(others), beside=beside)


def save(
    folder: Path, fitted: Fitted, described: dict[str, Any], *, beside: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Write the MLflow model.

    Parameters
    ----------
    folder : Path
        Does not exist yet.
    described : dict
        The `mapping`.
    beside : mapping of str to dict, optional
        Further files of the scorer, by name: the `hi_ml.prediction.drift.profile` of the training rows, and what the
        model reached on its own test part.

    Raises
    ------
    ModelUnservable
        If what was written cannot be loaded again and score: MLflow would keep it without a word.
    """
    import mlflow.pyfunc  # noqa: PLC0415 -- a second and a half that only a run that got this far pays

    example = invent_admission(described)
    with tempfile.TemporaryDirectory() as temporary:
        scorer = Path(temporary) / "scorer"
        scorer.mkdir()
        write_json(scorer / serving.MAPPING, described | _dump(scorer, fitted))
        for name, content in (beside or {}).items():
            write_json(scorer / name, content)
        try:
            serving.load(scorer).predict(example)
        except ValueError as error:
            raise ModelUnservable.of(described["task"], str(error)) from error
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=serving.__file__,
            artifacts={"scorer": str(scorer)},
            signature=_signature(described),
            input_example=example,
            pip_requirements=_requirements(fitted),
            metadata={"task": described["task"], SIGNED: digest(scorer)},
        )


def _dump(scorer: Path, fitted: Fitted) -> dict[str, str]:
    """Write the learners, and return the digests by which they are known again."""
    from skops.io import dumps  # noqa: PLC0415 -- as above

    for learner in (fitted.pipeline[-1], *(fitted.bounds or ())):
        for name in _RANDOM if hasattr(learner, "get_metadata") else ():
            learner.get_metadata()[name] = ""
    parts = {serving.PIPELINE: fitted.pipeline}
    if fitted.bounds:
        parts[serving.BOUNDS] = list(fitted.bounds)
    digests = {}
    for name, part in parts.items():
        content = _reproducible(dumps(part))
        (scorer / name).write_bytes(content)
        digests[f"{Path(name).stem}_sha256"] = hashlib.sha256(content).hexdigest()
    return digests


def _reproducible(archive: bytes) -> bytes:
    """Write what skops wrote without times and addresses of memory: two equal trainings give one digest."""
    numbers: dict[tuple[str, ...], int] = {}
    names: dict[str, str] = {}

    def renumber(node: dict[str, Any]) -> dict[str, Any]:
        if "__id__" in node:
            plain = node.get("is_json") or node["__loader__"] == "TypeNode"  # which may or may not be one in memory
            what = (node["__module__"], node["__class__"], node.get("content", "")) if plain else (str(node["__id__"]),)
            node["__id__"] = numbers.setdefault(what, len(numbers))
        if "file" in node:
            node["file"] = names.setdefault(node["file"], f"{len(names)}{Path(node['file']).suffix}")
        return node

    written = BytesIO()
    with ZipFile(BytesIO(archive)) as old, ZipFile(written, "w") as new:
        schema = json.dumps(json.loads(old.read(_SCHEMA), object_hook=renumber))
        for name, renamed in names.items():
            new.writestr(ZipInfo(renamed), old.read(name))
        new.writestr(ZipInfo(_SCHEMA), schema)
    return written.getvalue()


def _signature(described: dict[str, Any]) -> Any:
    """Any type per column: MLflow reads a CSV without the schema, and the model converts and checks by itself."""
    from mlflow.models import ModelSignature  # noqa: PLC0415 -- as above
    from mlflow.types import ColSpec, DataType, Schema  # noqa: PLC0415 -- as above
    from mlflow.types.schema import AnyType  # noqa: PLC0415 -- as above

    any_type = AnyType()  # type: ignore[no-untyped-call]
    sources = dict.fromkeys(spec["source"] for spec in serving.inputs(described["columns"]))
    # none is required: where one is missing MLflow would quote the row, and the model says it without
    inputs: list[Any] = [ColSpec(any_type, source, required=False) for source in sources]
    number, text = DataType.double, DataType.string
    kinds = {"prediction": text if described["labels"] else number}
    kinds |= {f"p_{label}": number for label in described["labels"]}
    if described.get("interval"):
        kinds |= {"prediction_set": text} if described["labels"] else {"low": number, "high": number}
    outputs: list[Any] = [ColSpec(kind, name) for name, kind in kinds.items()]
    return ModelSignature(Schema(inputs), Schema(outputs))


_version = cache(version)  # each takes milliseconds, and is asked for by every model


def _requirements(fitted: Fitted) -> list[str]:
    learner = type(fitted.pipeline[-1]).__module__.split(".")[0]
    also = () if learner == "sklearn" else (learner,)
    return [f"{name}=={_version(name)}" for name in (*_SERVES, *also)]
