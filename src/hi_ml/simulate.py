"""python -m hi_ml.simulate output=<path>: writes a table, or a feed, whose truth is known, and the truth beside it."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.called import printed
from hi_ml.app.config import STRICT, Files
from hi_ml.app.errors import ConfigurationInvalid, OutputFailed, quoted
from hi_ml.app.files import to_write
from hi_ml.data import simulation


@dataclass(frozen=True, config=STRICT)
class SimulateSettings:
    """The keys of ``conf/simulate.yaml``."""

    scenario: str  # planted, noise or interactions; of a feed plain, as planted stands for too, or hard
    stream: bool  # HL7 messages instead of a table
    rows: int
    seed: int
    effect: float  # of each claim, in multiples of the smallest effect that matters
    hospitals: int | None  # None for 200, and for one of a feed; noise has none
    output: str | None  # a .csv or .parquet file; of a feed .hl7
    files: Files


def simulate(settings: SimulateSettings, _here: launch.Invocation) -> None:
    """Write a simulated table, its truth and its expectations.

    Raises
    ------
    OutputFailed
        If no output is named, or it is neither CSV nor Parquet, or no .hl7 of a feed.
    ConfigurationInvalid
        If there is no such scenario, or a number is out of range.
    """
    output, rows, seed, effect = settings.output, settings.rows, settings.seed, settings.effect
    suffixes = (".hl7",) if settings.stream else (".csv", ".parquet")
    if output is None or Path(output).suffix not in suffixes:
        raise OutputFailed.no_path("simulate", output, suffixes)
    path, scenario = to_write(output), settings.scenario
    try:
        if settings.stream:
            scenario = "plain" if scenario == "planted" else scenario
            feed = simulation.stream(scenario, rows, seed=seed, effect=effect, hospitals=settings.hospitals)
            paths = simulation.write_stream(feed, path)
        else:
            drawn = simulation.simulate(scenario, rows, seed=seed, effect=effect, hospitals=settings.hospitals)
            paths = simulation.write(drawn, path)
    except ValueError as error:
        raise ConfigurationInvalid(str(error)) from error
    for written in paths:
        print(written)
    table = path.with_suffix(".csv") if settings.stream else path
    print(printed("train", "dataset=kaggle", f"dataset.source={quoted(str(table))}"))


main = launch.command(simulate)

if __name__ == "__main__":
    main()
