"""python -m hi_ml.validate model_uri=<model> dataset=<table>: asks whether a frozen model holds on another table."""

import time
from functools import partial
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import NotValidatable, command_to_track
from hi_ml.app.files import atomic_folder
from hi_ml.data.read import read
from hi_ml.evaluation.transport import Margins, transport
from hi_ml.prediction.external import load_home, predict_elsewhere
from hi_ml.prediction.load import load_model
from hi_ml.reports import validate as report
from hi_ml.tracking.folder import OF_OTHER_STEPS, RunFolder, keep_rejected
from hi_ml.tracking.send import RunSettings
from hi_ml.tracking.store import how_to_look, store_uri


@dataclass(frozen=True, config=STRICT)
class ValidateSettings(RunSettings):
    """The keys of ``conf/validate.yaml``; the dataset is the other table."""

    model_uri: str | None  # the frozen model
    margins: Margins
    factors: dict[str, Annotated[float, Field(gt=0)]]  # by role, to the model's unit


def validate(settings: ValidateSettings, here: launch.Invocation) -> None:
    """Hold a frozen model against another table; the registry remembers where it was tried, and the verdict.

    Raises
    ------
    HiMlError
        If the model or the table cannot be read, or the table cannot be asked what the model was asked.
    """
    if settings.model_uri is None:
        raise NotValidatable.no_model()
    started = time.time()
    with launch.progress(4) as stage:
        stage("load the model")
        model = load_model(settings.model_uri, seconds=settings.tracking_seconds)
        home = load_home(model)
        stage("read")
        admissions = read(settings.dataset, partial(keep_rejected, here.folder))
        stage("predict")
        smallest, seed = settings.smallest_cell, settings.seed
        elsewhere = predict_elsewhere(model, home, admissions, factors=settings.factors, seed=seed, smallest=smallest)
        stage("judge")
        result = transport(home, elsewhere.predictions, settings.margins, place=settings.dataset.name)
        validation = report.Validation(model, home, admissions, elsewhere, result, settings.margins, smallest)
        with atomic_folder(here.folder, ours=OF_OTHER_STEPS) as work:
            report.write(validation, RunFolder(work), here=here, started=started)
    print(report.screen(validation, here.folder))
    if settings.tracking == "none":
        print(command_to_track(here.folder))
        return
    sent = settings.send(here.folder)
    print(*sent.sentences(), sep="\n")
    print(how_to_look(store_uri(), sent.experiment_id))


main = launch.command(validate)

if __name__ == "__main__":
    main()
