"""python -m hi_ml.simulate output=<path>: writes a table whose truth is known, and the truth beside it."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid, OutputFailed
from hi_ml.data import simulation


@dataclass(frozen=True, config=STRICT)
class SimulateSettings:
    """The keys of ``conf/simulate.yaml``."""

    scenario: str  # planted, noise or interactions
    rows: int
    seed: int
    effect: float  # of each claim, in multiples of the smallest effect that matters
    hospitals: int | None  # None for 200; noise has none
    output: str | None  # a .csv or .parquet file


def simulate(settings: SimulateSettings, _here: launch.Invocation) -> None:
    """Write a simulated table, its truth and its expectations.

    Raises
    ------
    OutputFailed
        If no output is named, or it is neither CSV nor Parquet.
    ConfigurationInvalid
        If there is no such scenario, or a number is out of range.
    """
    output = settings.output
    if output is None or Path(output).suffix not in (".csv", ".parquet"):
        raise OutputFailed.no_path("simulate", output)
    try:
        drawn = simulation.simulate(
            settings.scenario,
            settings.rows,
            seed=settings.seed,
            effect=settings.effect,
            hospitals=settings.hospitals,
        )
    except ValueError as error:
        raise ConfigurationInvalid(str(error)) from error
    for path in simulation.write(drawn, Path(output)):
        print(path)
    print(f"python -m hi_ml.train dataset=kaggle dataset.source={output}")


main = launch.command(simulate)

if __name__ == "__main__":
    main()
