"""python -m hi_ml.listen dataset=<name>: hears admissions as they happen, and shows the beds taken now and soon."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.hl7 import Feed, Reader
from hi_ml.prediction.feed import service
from hi_ml.prediction.feed.outlook import Forecaster
from hi_ml.prediction.feed.posts import FhirSettings
from hi_ml.prediction.feed.settings import (
    HttpSettings,
    LogSettings,
    MllpSettings,
    Zone,
    fingerprint,
    keyed,
    refuse_open_doors,
    site_zone,
)
from hi_ml.reports.page import service_page
from hi_ml.tracking.alarms import announce
from hi_ml.tracking.site import site_key


@dataclass(frozen=True, config=STRICT)
class ListenSettings:
    """The keys of ``conf/listen.yaml``."""

    dataset: Dataset
    feed: Feed
    mllp: MllpSettings
    http: HttpSettings
    fhir: FhirSettings
    log: LogSettings
    group_ms: Annotated[float, Field(ge=0, le=1000)]
    group_rows: Annotated[int, Field(ge=1)]
    queue: Annotated[int, Field(ge=1)]
    key_file: str
    zone: Zone  # of times without an offset; None: that of the machine
    counted: str  # class of the patients that the census counts
    model_uri: str | None
    horizons: list[Annotated[int, Field(ge=1, le=60)]]  # days ahead
    units: list[str] | None
    interval: Annotated[float, Field(gt=0, lt=1)]
    board_seconds: Annotated[float, Field(gt=0)]
    silent: bool
    files: Files


def listen(settings: ListenSettings, _here: launch.Invocation) -> None:
    """Hear, keep, predict and show, until a signal comes.

    Raises
    ------
    HiMlError
        If the settings would let strangers in, an address is taken, or the log or the model cannot be used.
    """
    refuse_open_doors(settings.mllp, settings.http)
    key = site_key(Path(settings.key_file))
    reader = Reader(settings.feed, keyed(key), site_zone(settings.zone), settings.mllp.charset)
    uri = settings.model_uri or f"models:/{settings.dataset.name}.length_of_stay@champion"
    outlook = Forecaster(
        settings.dataset, uri, settings.horizons, settings.interval, settings.counted,
        required=settings.model_uri is not None, units=settings.units,
    )  # fmt: skip
    outlook.refresh()
    plan = service.ServicePlan(
        reader, settings.mllp, settings.http, settings.fhir, settings.log, fingerprint(key), settings.group_ms,
        settings.group_rows, settings.queue, settings.counted, outlook, settings.board_seconds, settings.silent,
        service_page(), lambda alarms: announce(settings.dataset.name, fingerprint(key), alarms, model=outlook.model),
    )  # fmt: skip
    service.run(plan, lambda line: print(line, flush=True))


main = launch.command(listen)

if __name__ == "__main__":
    main()
