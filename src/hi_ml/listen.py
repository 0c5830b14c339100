"""python -m hi_ml.listen dataset=<name>: hears admissions as they happen, and shows the beds taken now and soon."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.data.sources.hl7 import Feed, Reader
from hi_ml.prediction.feed import service
from hi_ml.prediction.feed.settings import fingerprint, keyed, refuse_open_doors, site_zone
from hi_ml.reports.page import service_page
from hi_ml.tracking.alarms import announce
from hi_ml.tracking.site import site_key


@dataclass(frozen=True, config=STRICT)
class ListenSettings(service.ServiceSettings):
    """The keys of ``conf/listen.yaml``."""

    feed: Feed
    key_file: str


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
        settings, reader, fingerprint(key), outlook, service_page(),
        lambda alarms: announce(settings.dataset.name, fingerprint(key), alarms, model=outlook.model),
    )  # fmt: skip
    service.run(plan, lambda line: print(line, flush=True))


main = launch.command(listen)

if __name__ == "__main__":
    main()
