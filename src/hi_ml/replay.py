"""python -m hi_ml.replay input=<file> to=<address>: sends messages as a hospital does, and as a bad line does."""

import ssl
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, Seed
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.hl7 import Feed
from hi_ml.prediction.feed.sender import (
    Fault,
    Pace,
    Receiver,
    as_if_now,
    as_time_goes,
    paced,
    read_messages,
    wall_clock,
)
from hi_ml.prediction.feed.table import read_table

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class ReplaySettings:
    """The keys of ``conf/replay.yaml``."""

    dataset: Dataset
    feed: Feed
    input: str | None
    to: str
    speed: Literal["max", "live"] | Annotated[float, Field(gt=0)]
    connections: Annotated[int, Field(ge=1, le=256)]
    disorder: Share
    repeat: Share
    drop: Share
    seed: Seed
    patience: Annotated[float, Field(gt=0)]  # seconds
    token_file: str | None
    tls: bool
    ca: str | None
    cert: str | None
    key: str | None
    files: Files

    def context(self) -> ssl.SSLContext | None:
        """Say how the other side shows who it is, and this one.

        Raises
        ------
        ConfigurationInvalid
            If a file is no certificate.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:
            raise ConfigurationInvalid.no_certificate("ca, cert and key", str(error)) from error
        return context


def replay(settings: ReplaySettings, _here: launch.Invocation) -> None:
    """Send a file of messages, and count the answers.

    Raises
    ------
    HiMlError
        If there is no such file, or nobody answers.
    """
    if settings.input is None:
        raise SourceUnreadable.no_messages(None)
    token = None if settings.token_file is None else Path(settings.token_file).read_text(encoding="utf-8").strip()
    address = Receiver.of(settings.to, tls=settings.context(), token=token, patience=settings.patience)
    path = Path(settings.input)
    messages = read_table(path, settings.dataset, settings.feed) if path.suffix == ".csv" else read_messages(path)
    pace: Pace = partial(paced, speed=None if isinstance(settings.speed, str) else settings.speed)
    if settings.speed == "live":
        now = wall_clock()
        messages, pace = as_if_now(messages, now), as_time_goes
        past = sum(one.at is not None and one.at <= now for one in messages)
        print(
            f"{past:,} messages are past and come at once, {len(messages) - past:,} when their time comes", flush=True
        )
    line = Fault(settings.disorder, settings.repeat, settings.drop, settings.seed).apply(messages)
    began = time.monotonic()
    counts = address.send(line, pace=pace, connections=settings.connections)
    seconds = time.monotonic() - began
    listed = ", ".join(f"{count:,} {code}" for code, count in sorted(counts.items()))
    print(f"{len(messages):,} messages, {len(line):,} sent in {seconds:.1f} s; answers: {listed}")


main = launch.command(replay)

if __name__ == "__main__":
    main()
