"""python -m hi_ml.simulate output=<path>: writes a table whose truth is known, and the truth beside it."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.app.errors import ConfigurationInvalid, OutputFailed
from hi_ml.data.simulation import simulate as draw
from hi_ml.data.simulation import write


def simulate(*, scenario: str, rows: int, seed: int, effect: float, hospitals: int | None, output: str | None) -> None:
    """Write a simulated table, its truth and its expectations.

    Parameters
    ----------
    scenario : {"planted", "noise"}
    effect : float
        Of each claim, in multiples of the smallest effect that matters.
    hospitals : int or None
        Of a planted table; None for 200.
    output : str or None
        A ``.csv`` or ``.parquet`` file.

    Raises
    ------
    OutputFailed
        If no output is named, or it is neither CSV nor Parquet.
    ConfigurationInvalid
        If there is no such scenario, or a number is out of range.
    """
    if output is None or Path(output).suffix not in (".csv", ".parquet"):
        raise OutputFailed.no_path("simulate", output)
    try:
        drawn = draw(scenario, rows, seed=seed, effect=effect, hospitals=hospitals)
    except ValueError as error:
        raise ConfigurationInvalid(str(error)) from error
    for path in write(drawn, Path(output)):
        print(path)
    print(f"python -m hi_ml.train dataset=kaggle dataset.source={output}")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="simulate")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    with launch.one_sentence():
        simulate(**arguments(simulate, cfg))


if __name__ == "__main__":
    launch.run(main)
