"""python -m hi_ml.predict input=<file> output=<file>: scores admissions in batch, night after night."""

import gc
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from joblib import cpu_count
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from hi_ml.app import launch
from hi_ml.app.called import printed
from hi_ml.app.config import STRICT, Files, Seconds
from hi_ml.app.errors import ConfigurationInvalid, OutputFailed, SourceUnreadable, quoted
from hi_ml.app.files import atomic_folder, to_write
from hi_ml.app.timing import round_seconds
from hi_ml.data.location import Database, Location, address_of, in_the_way_of, is_database
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.files import is_folder
from hi_ml.data.sources.spark import Settings, session
from hi_ml.evaluation import judgement
from hi_ml.modeling.tasks import Task
from hi_ml.prediction import batch
from hi_ml.prediction.drift import Sensitivity, alarms
from hi_ml.prediction.load import LoadedModel, load_model
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.store import how_to_look, store_uri


@dataclass(frozen=True, config=STRICT)
class PredictSettings:
    """The keys of ``conf/predict.yaml``."""

    dataset: Dataset  # its name and the task's name the registered model; its separator and encoding are those of a CSV
    tasks: dict[str, Task]  # one
    model_uri: str | None  # another model
    input: Location | None
    output: Location | None  # a file, or a table of a database
    engine: Literal["local", "spark"]
    spark: Settings  # where none runs yet
    key: str | None  # the column that tells Spark's rows apart; None: the model's identifier
    keep: list[str]  # columns of the input to carry through
    reasons: Annotated[int, Field(ge=0)]  # per row
    chunk_rows: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)] | None  # chunks that are scored at once; None: as many as processors
    max_rejected: Annotated[float, Field(ge=0, le=1)]  # share of rows
    drift: Sensitivity
    tracking_seconds: Seconds  # that a server may take to send the model
    verify: str | None  # a manifest: check its output instead of scoring
    sample: Annotated[int, Field(ge=1)]  # rows that are scored again to verify
    seed: Annotated[int, Field(ge=0)]  # draws them
    files: Files

    def uri(self) -> str:
        """Return which model is meant.

        Raises
        ------
        ConfigurationInvalid
            If it is to be named by more or less than one task.
        """
        if self.model_uri is None and len(self.tasks) != 1:
            raise ConfigurationInvalid.one_task("predict", list(self.tasks))
        return self.model_uri or f"models:/{self.dataset.name}.{next(iter(self.tasks))}@champion"


def predict(settings: PredictSettings, here: launch.Invocation) -> None:
    """Score a file of admissions, or verify one that was scored.

    Raises
    ------
    HiMlError
        If the input, the model or the request cannot be served, or an output is not what its manifest claims.
    """
    if settings.verify is None:
        _score(settings, here)
        return
    path, dataset = Path(settings.verify).expanduser(), settings.dataset
    fetch = partial(load_model, seconds=settings.tracking_seconds)
    print(batch.prove(path, fetch=fetch, dataset=dataset, sample=settings.sample, seed=settings.seed))
    with atomic_folder(here.folder) as folder:
        RunFolder(folder).write(config=here.config, overrides=here.overrides)


def _score(settings: PredictSettings, here: launch.Invocation) -> None:
    on_spark = settings.engine == "spark"
    for key, value in (("key", settings.key), ("spark", settings.spark)):
        if value and not on_spark:
            raise ConfigurationInvalid.of_spark_alone(key)
    output, table = _destination(settings.output, folder=on_spark)
    source, uri = _source(settings, on_spark=on_spark), settings.uri()
    with ThreadPoolExecutor(1) as beside:  # reading files for their digests costs nothing while the model is loaded
        files = None if on_spark else beside.submit(batch.fingerprints, source, settings.dataset)
        model = load_model(uri, seconds=settings.tracking_seconds)
    gc.freeze()  # the model and the libraries stay: a search for garbage in all of them takes a tenth of a second
    request = batch.BatchRequest(
        input=source,
        output=output,
        table=table,
        dataset=settings.dataset,
        keep=tuple(settings.keep),
        reasons=settings.reasons,
        chunk_rows=settings.chunk_rows,
        threads=settings.threads or cpu_count(),
        max_rejected=settings.max_rejected,
        sensitivity=settings.drift,
        command=tuple(here.words()),
    )
    with launch.progress(1) as stage:
        if files is None:
            spark = session(settings.spark)
            place = settings.input or source
            result = batch.score_on_spark(request, model, spark, source=place, key=settings.key)
        else:
            result = batch.score(request, model, files=files.result(), say=tqdm.write, stage=stage)
    with atomic_folder(here.folder) as folder:
        run = RunFolder(folder)
        run.write(config=here.config, overrides=here.overrides)
        run.write(manifest=result.manifest, timings=round_seconds(result.seconds))
    _show(request, model, result.manifest)


def _source(settings: PredictSettings, *, on_spark: bool) -> str:
    """Name the input in one line; a table of Spark's needs no order, and a folder of its is one of Parquet."""
    if settings.input is None:
        raise SourceUnreadable.no_input(None)
    if on_spark:
        return settings.input.shown if isinstance(settings.input, Database) else settings.input
    source = address_of(settings.input)
    return in_the_way_of(settings.dataset.origin, source) if is_folder(source) else source


def _destination(output: str | Database | None, *, folder: bool) -> tuple[Path, Database | None]:
    """Name the file or folder that gets the output, or beside which the work for a table is done."""
    if isinstance(output, Database) and output.table is not None:
        return Path(re.sub(r"[^\w.-]", "_", f"{output.table}.parquet")), output
    good = isinstance(output, str) and not is_database(output)
    if not good or not (folder or Path(str(output)).suffix in batch.SUFFIXES):
        named = ("",) if folder else batch.SUFFIXES
        raise OutputFailed.no_path("predict", None if output is None else str(output), named)
    return to_write(str(output)), None


def _show(request: batch.BatchRequest, model: LoadedModel, manifest: Mapping[str, Any]) -> None:
    """Show what was done, what is to be looked at, and the command that proves it."""
    read, scored, rejected = (manifest[key] for key in ("rows_in", "rows_scored", "rows_rejected"))
    print(f"\n{read:,} rows read, {scored:,} scored, {rejected:,} rejected")
    print(f"Model: {model.uri}, verdict {manifest['verdict'].replace('_', ' ')}")
    if caution := judgement.caution(manifest["verdict"]):
        print(f"Note: the verdict is not 'signal': {caution}.")
    if manifest["interval"] and manifest["interval"]["keeps_level"] is False:
        print(f"Note: intervals do not keep their level. {manifest['interval']['sentence']}")
    if not model.same_code:
        print("Note: the model was made by another version of hi_ml; MLflow may serve it by other rules than these.")
    if manifest["another_table"]:
        print(f"Note: {manifest['another_table']}")
    if manifest["columns_ignored"]:
        print(f"Columns ignored: {', '.join(manifest['columns_ignored'])}")
    for why, rows in manifest["rows_left_out"].items():
        print(f"Note: {rows:,} rows are scored, of which the model has seen none: {why}. They say so in 'left_out'.")
    for why in manifest["rules_untold"]:
        print(f"Note: the model has seen no row of this kind, and the input does not tell which are: {why}.")
    unknown = {name: rate for name, rate in manifest["unknown_rate"].items() if rate}
    if unknown:
        shares = ", ".join(f"{name} {rate:.2%}" for name, rate in unknown.items())
        print(f"Categories never seen in training: {shares}")
    calm = "none" if manifest["drift"] else "not measured, the model has no profile of training"
    moved = alarms(manifest["drift"]) or [calm]
    print("\n".join(f"Drift: {line}" for line in moved))
    if rejected:
        print(f"Rejected: {request.beside(batch.REJECTED)}")
    print(f"Output: {request.output if request.table is None else request.table.shown}\n")
    proof = f"{printed('predict', f'verify={quoted(str(request.beside(batch.MANIFEST)))}')}\n"
    provable = manifest["input_sha256"] and "output_sha256" in manifest  # no table of Spark's keeps its bytes
    print(f"{proof * bool(provable)}{how_to_look(store_uri())}")


main = launch.command(predict)

if __name__ == "__main__":
    main()
