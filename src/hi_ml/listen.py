"""python -m hi_ml.listen dataset=<name>: hears admissions as they happen, and shows the beds taken now and soon."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.data.sources.hl7 import Feed, Reader
from hi_ml.prediction.feed import service
from hi_ml.prediction.feed.outlook import OutlookSettings
from hi_ml.prediction.feed.posts import FhirSettings
from hi_ml.prediction.feed.settings import (
    HttpSettings,
    MllpSettings,
    fingerprint,
    keyed,
    refuse_open_doors,
    site_zone,
)
from hi_ml.reports.page import service_page
from hi_ml.tracking.alarms import announce
from hi_ml.tracking.site import site_key


@dataclass(frozen=True, config=STRICT)
class ListenSettings(OutlookSettings):
    """The keys of ``conf/listen.yaml``."""

    feed: Feed
    mllp: MllpSettings
    http: HttpSettings
    fhir: FhirSettings
    group_ms: Annotated[float, Field(ge=0, le=1000)]
    group_rows: Annotated[int, Field(ge=1)]
    queue: Annotated[int, Field(ge=1)]
    key_file: str
    board_seconds: Annotated[float, Field(gt=0)]
    silent: bool


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
    outlook = settings.outlook()
    plan = service.ServicePlan(
        reader, settings.mllp, settings.http, settings.fhir, settings.log, fingerprint(key), settings.group_ms,
        settings.group_rows, settings.queue, settings.counted, outlook, settings.board_seconds, settings.silent,
        service_page(), lambda alarms: announce(settings.dataset.name, fingerprint(key), alarms, model=outlook.model),
    )  # fmt: skip
    service.run(plan, lambda line: print(line, flush=True))


main = launch.command(listen)

if __name__ == "__main__":
    main()
