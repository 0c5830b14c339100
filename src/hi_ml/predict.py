"""python -m hi_ml.predict input=<file> output=<file>: scores admissions in batch, night after night."""

import gc
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import hydra
from joblib import cpu_count
from omegaconf import DictConfig
from pydantic import Field
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.app.errors import ConfigurationInvalid, OutputFailed
from hi_ml.data.schema import Dataset
from hi_ml.modeling.tasks import Task
from hi_ml.prediction import batch
from hi_ml.prediction.drift import Sensitivity, alarms
from hi_ml.prediction.load import LoadedModel, load_model
from hi_ml.tracking.folder import RunFolder, atomic_folder
from hi_ml.tracking.store import command_to_open, store_uri

_SIGNAL = "signal"


def predict(
    *,
    dataset: Dataset,
    tasks: dict[str, Task],
    model_uri: str | None,
    input: str | None,  # noqa: A002 -- the key of the command
    output: str | None,
    keep: list[str],
    reasons: Annotated[int, Field(ge=0)],
    chunk_rows: Annotated[int, Field(ge=1)],
    threads: Annotated[int, Field(ge=1)] | None,
    max_rejected: Annotated[float, Field(ge=0, le=1)],
    drift: Sensitivity,
    verify: str | None,
    sample: Annotated[int, Field(ge=1)],
    seed: Annotated[int, Field(ge=0)],
    here: launch.Invocation,
) -> None:
    """Score a file of admissions, or verify one that was scored.

    Parameters
    ----------
    dataset : Dataset
        Its name and the task's name the registered model; its separator and encoding are those of a CSV.
    tasks : dict of str to Task
        One.
    model_uri : str or None
        Another model.
    keep : list of str
        Columns of the input to carry through.
    reasons : int
        Per row.
    threads : int or None
        Chunks that are scored at once; None for as many as there are processors.
    max_rejected : float
        Share of rows.
    verify : str or None
        A manifest: check its output instead of scoring.
    sample, seed : int
        Rows that are scored again to verify, and what draws them.

    Raises
    ------
    HiMlError
        If the input, the model or the request cannot be served, or an output is not what its manifest claims.
    """
    if verify is not None:
        print(batch.prove(Path(verify), deliver=load_model, dataset=dataset, sample=sample, seed=seed))
        with atomic_folder(here.folder) as folder:
            RunFolder(folder).write_request(here.config, here.overrides)
        return
    if output is None or Path(output).suffix not in batch.SUFFIXES:
        raise OutputFailed.no_path("predict", output)
    if model_uri is None and len(tasks) != 1:
        raise ConfigurationInvalid.one_task("predict", list(tasks))
    with ThreadPoolExecutor(1) as beside:  # reading files for their digests costs nothing while the model is loaded
        stamps = beside.submit(batch.stamped, input)
        model = load_model(model_uri or f"models:/{dataset.name}.{next(iter(tasks))}@champion")
    gc.freeze()  # the model and the libraries stay: a search for garbage in all of them takes a tenth of a second
    request = batch.Request(
        input=str(input), output=Path(output), dataset=dataset, keep=tuple(keep), reasons=reasons,
        chunk_rows=chunk_rows, threads=threads or cpu_count(), max_rejected=max_rejected, sensitivity=drift,
        command=tuple(here.overrides),
    )  # fmt: skip
    with launch.progress(1) as stage:
        result = batch.score(request, model, stamps=stamps.result(), say=tqdm.write, stage=stage)
    with atomic_folder(here.folder) as folder:
        RunFolder(folder).write_request(here.config, here.overrides)
        RunFolder(folder).write_batch(result.manifest, result.seconds)
    _say(request, model, result.manifest)


def _say(request: batch.Request, model: LoadedModel, told: Mapping[str, Any]) -> None:
    """Show what was done, what is to be looked at, and the command that proves it."""
    print(f"\n{told['rows_in']:,} rows read, {told['rows_scored']:,} scored, {told['rows_rejected']:,} rejected")
    print(f"Model: {model.uri}, verdict {told['verdict']}")
    if told["verdict"] != _SIGNAL:
        print("Note: the verdict is not 'signal': the model was not shown to be better than knowing nothing.")
    if not model.same_code:
        print("Note: the model was made by another version of hi_ml; MLflow may serve it by other rules than these.")
    if told["columns_ignored"]:
        print(f"Columns ignored: {', '.join(told['columns_ignored'])}")
    unknown = {name: rate for name, rate in told["unknown_rate"].items() if rate}
    if unknown:
        shares = ", ".join(f"{name} {rate:.2%}" for name, rate in unknown.items())
        print(f"Categories never seen in training: {shares}")
    moved = alarms(told["drift"]) or ["none" if told["drift"] else "not measured, the model has no profile of training"]
    print("\n".join(f"Drift: {line}" for line in moved))
    if told["rows_rejected"]:
        print(f"Rejected: {request.beside(batch.REJECTED)}")
    print(f"Output: {request.output}\n")
    print(f"python -m hi_ml.predict verify={request.beside(batch.SUFFIX)}")
    print(command_to_open(store_uri()))


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="predict")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    launch.quiet()
    with launch.one_sentence():
        predict(**arguments(predict, cfg), here=launch.Invocation.of(cfg))


if __name__ == "__main__":
    launch.run(main)
