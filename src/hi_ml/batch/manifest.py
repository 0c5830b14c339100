"""What was scored, with what, from what, and how it went: the proof that lies beside the output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hi_ml.batch.inputs import Inputs
from hi_ml.batch.journal import Entry
from hi_ml.batch.request import Model, Request
from hi_ml.batch.stamps import Stamp, together, versions
from hi_ml.drift import Drift, load

SUFFIX = "manifest.json"


def manifest(
    request: Request, model: Model, inputs: Inputs, *, entries: list[Entry], stamps: Mapping[Path, Stamp]
) -> dict[str, Any]:
    """Describe a finished work, the output's own digest and the time apart; ready for JSON.

    Parameters
    ----------
    request : Request
    model : Model
    inputs : Inputs
    entries : list of Entry
        Of all chunks.
    stamps : dict of Path to Stamp
        Of the files of the input.
    """
    sums, scored = entries[-1].sums, sum(entry.scored for entry in entries)
    read = [sum(entry.read for entry in entries if entry.file == place) for place in range(len(inputs.files))]
    files = [
        {"file": str(path), "sha256": stamp.sha256, "rows": rows}
        for (path, stamp), rows in zip(stamps.items(), read, strict=True)
    ]
    return {
        "model_uri": model.uri,
        "model_sha256": model.sha256,
        "verdict": model.verdict,
        "input": request.input,
        "input_sha256": together(stamps),
        "files": files,
        "rows_in": sum(read),
        "rows_scored": scored,
        "rows_rejected": sum(entry.rejected for entry in entries),
        "unknown_rate": {name: count / scored if scored else 0.0 for name, count in sums["unseen"].items()},
        "drift": drift(model, sums, request),
        "columns_ignored": list(inputs.extra),
        "id": next((name for name in inputs.carried if name == model.scorer.mapping.get("id")), None),
        "keep": list(request.keep),
        "reasons": request.reasons,
        "chunk_rows": request.chunk_rows,
        "separator": request.dataset.separator,
        "encoding": request.dataset.encoding,
        "command": ["python", "-m", "hi_ml.predict", *request.command],
        "versions": versions(),
    }


def drift(model: Model, sums: Mapping[str, Any], request: Request) -> dict[str, dict[str, Any]]:
    """Compare the scored rows with those of training, by source column; empty where the model has no profile."""
    taught = load(model.folder)
    if taught is None or "drift" not in sums:
        return {}
    return Drift.from_json(taught, sums["drift"]).report(request.sensitivity)
