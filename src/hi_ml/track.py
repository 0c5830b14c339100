"""python -m hi_ml.track run=<folder>: sends a finished run folder that could not be tracked."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.send import send
from hi_ml.tracking.store import command_to_open, store_uri


def track(*, run: str | None) -> None:
    """Track one run folder; without its table, its model cannot take the place of a champion.

    Parameters
    ----------
    run : str or None
        The folder of one task, for example ``outputs/train/<timestamp>/billing``.

    Raises
    ------
    RunFolderInvalid
        If the folder is absent or holds no finished run.
    """
    if run is None or not Path(run).is_dir():
        raise RunFolderInvalid.of(Path(run or "run=<folder>"), "folder")
    tracked = send(RunFolder(Path(run).resolve()))
    print(f"{tracked.experiment}: run {tracked.run_id}")
    for sentence in tracked.sentences():
        print(sentence)
    print(command_to_open(store_uri()))


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="track")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    launch.quiet()
    with launch.one_sentence():
        track(**arguments(track, cfg))


if __name__ == "__main__":
    launch.run(main)
