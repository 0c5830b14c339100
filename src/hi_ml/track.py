"""python -m hi_ml.track run=<folder>: sends a finished run folder that could not be tracked."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT, Files, Seconds
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.tracking.door import refuse_strange
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.registry import Promote, PromotionPolicy
from hi_ml.tracking.send import send
from hi_ml.tracking.store import how_to_look, store_uri


@dataclass(frozen=True, config=STRICT)
class TrackSettings:
    """The keys of ``conf/track.yaml``."""

    run: str | None  # the folder of one task, for example outputs/train/<timestamp>/billing
    trust: list[str]  # ``sha256:<digest>`` of a model's code that hi_ml did not write
    tracking_seconds: Seconds  # that a server may take
    share_rows: bool  # whether tables of single rows may leave for MLflow
    promote: Promote  # auto leaves a champion in its place, since there is no table to compare on; always, never
    files: Files


def track(settings: TrackSettings, _here: launch.Invocation) -> None:
    """Track one run folder; without its table, its model takes the place of a champion only if told to.

    Raises
    ------
    RunFolderInvalid
        If the folder is absent, holds no finished run, or something that hi_ml did not write.
    """
    path = Path(settings.run or "").expanduser()
    if settings.run is None or not path.is_dir():
        raise RunFolderInvalid.absent(settings.run)
    folder = RunFolder(path.resolve())
    refuse_strange(folder, settings.trust)
    policy, seconds = PromotionPolicy(settings.promote), settings.tracking_seconds
    tracked = send(folder, policy, share_rows=settings.share_rows, seconds=seconds)
    print(f"{tracked.experiment}: run {tracked.run_id}")
    for sentence in tracked.sentences():
        print(sentence)
    print(how_to_look(store_uri(), tracked.experiment_id))


main = launch.command(track)

if __name__ == "__main__":
    main()
