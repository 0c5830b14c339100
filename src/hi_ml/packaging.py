"""The fitted pipeline as an MLflow model: code, mapping and skops, never a pickle."""

import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_ml import serving
from hi_ml.artifacts import write_json
from hi_ml.errors import ModelUnservable
from hi_ml.features import Features
from hi_ml.models import Fitted
from hi_ml.tasks import Task

_SERVES = ("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")  # what serving.py and the pipeline need
_ANY_NUMBER, _ANY_DATE, _ANY_WORD = 1.0, "2024-01-15", "unknown"  # the cells of an invented admission


def mapping(task: Task, fitted: Fitted, features: Features, *, labels: list[str], seen: pd.DataFrame) -> dict[str, Any]:
    """Describe how raw columns become the features of this model.

    Parameters
    ----------
    task : Task
    fitted : Fitted
    features : Features
    labels : list of str
        Of the task; empty for regression.
    seen : DataFrame, shape (n_train, n_features)
        The training rows: a level that none of them holds is no level of the model.
    """
    roles = list(dict.fromkeys(features.role[name] for name in fitted.features))
    columns = []
    for role in roles:
        spec = dict(features.specs[role])
        if "levels" in spec:
            present = set(seen[role].dropna().astype(int))
            spec["levels"] = [level if place in present else None for place, level in enumerate(spec["levels"])]
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
    }


def save(folder: Path, fitted: Fitted, described: dict[str, Any]) -> None:
    """Write the MLflow model.

    Parameters
    ----------
    folder : Path
        Does not exist yet.
    fitted : Fitted
    described : dict
        The `mapping`.

    Raises
    ------
    ModelUnservable
        If what was written cannot be loaded again and score: MLflow would keep it without a word.
    """
    import mlflow.pyfunc  # noqa: PLC0415 -- a second and a half that only a run that got this far pays
    from skops.io import dump  # noqa: PLC0415 -- the same

    with tempfile.TemporaryDirectory() as place:
        scorer = Path(place) / "scorer"
        scorer.mkdir()
        dump(fitted.pipeline, scorer / serving.PIPELINE)
        digest = hashlib.sha256((scorer / serving.PIPELINE).read_bytes()).hexdigest()
        write_json(scorer / serving.MAPPING, {**described, "pipeline_sha256": digest})
        try:
            serving.load(scorer).predict(invented(described))
        except ValueError as error:
            raise ModelUnservable.of(described["task"], str(error)) from error
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=serving.__file__,
            artifacts={"scorer": str(scorer)},
            signature=_signature(described),
            input_example=invented(described),
            pip_requirements=_requirements(fitted),
            metadata={"task": described["task"], "pipeline_sha256": digest},
        )


def invented(described: dict[str, Any]) -> pd.DataFrame:
    """Make up one admission from the mapping alone, so that no example can show a real one; shape (1, n_columns)."""
    cells: dict[str, list[Any]] = {}
    for spec in serving.inputs(described["columns"]):
        if spec["kind"] == "number":
            bounds = [bound for bound in (spec.get("low"), spec.get("high")) if bound is not None]
            cells[spec["source"]] = [float(np.mean(bounds)) if bounds else _ANY_NUMBER]
        elif spec["kind"] == "date":
            cells[spec["source"]] = [pd.Timestamp(_ANY_DATE).strftime(spec.get("format") or "%Y-%m-%d")]
        else:
            cells[spec["source"]] = [next((level for level in spec["levels"] if level), _ANY_WORD)]
    return pd.DataFrame(cells)


def _signature(described: dict[str, Any]) -> Any:
    """Any type per column: MLflow reads a CSV without the schema, and the model converts and checks by itself."""
    from mlflow.models import ModelSignature  # noqa: PLC0415 -- as above
    from mlflow.types import ColSpec, DataType, Schema  # noqa: PLC0415 -- as above
    from mlflow.types.schema import AnyType  # noqa: PLC0415 -- as above

    any_type = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[Any] = [ColSpec(any_type, spec["source"]) for spec in serving.inputs(described["columns"])]
    first = DataType.string if described["labels"] else DataType.double
    outputs: list[Any] = [ColSpec(first, "prediction")]
    outputs += [ColSpec(DataType.double, f"p_{label}") for label in described["labels"]]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _requirements(fitted: Fitted) -> list[str]:
    learner = type(fitted.pipeline[-1]).__module__.split(".")[0]
    also = () if learner == "sklearn" else (learner,)
    return [f"{name}=={version(name)}" for name in (*_SERVES, *also)]
