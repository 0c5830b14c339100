"""How a simulated table and its truth are kept in files."""

import errno
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hi_ml.app.files import atomic
from hi_ml.data.simulation.simulate import Simulated
from hi_ml.data.simulation.truth import truth

_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".csv": pyarrow.csv.write_csv,
    ".parquet": pyarrow.parquet.write_table,
}


def write(simulated: Simulated, output: Path) -> list[Path]:
    """Write the table, and beside it its truth.

    Every file is written under another name in the same folder and then renamed, the table last: whoever finds the
    table finds it whole, and its truth too.

    Parameters
    ----------
    simulated : Simulated
        As `simulate` returns it.
    output : Path
        `<stem>.csv` or `<stem>.parquet`. Missing folders are made.

    Returns
    -------
    list of Path
        `output`; `<stem>.truth.json` (`coefficients` and `scores`); `<stem>.truth.parquet` (`row`, `task`, `horizon`,
        `level`, `expectation`).

    Raises
    ------
    ValueError
        If `output` has another suffix.
    IsADirectoryError
        If a folder stands there.
    """
    output = Path(output)
    if output.suffix not in _WRITERS:
        raise ValueError(f"The output must end in .csv or .parquet; found {output.name!r}. Rename it.")
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    found = truth(simulated)
    facts = json.dumps({"coefficients": found.coefficients, "scores": found.scores}, indent=2, allow_nan=False)
    expectation = pa.Table.from_pandas(found.expectation, preserve_index=False)
    paths = [output, output.with_suffix(".truth.json"), output.with_suffix(".truth.parquet")]
    with ExitStack() as whole:
        table_part, facts_part, expectation_part = (whole.enter_context(atomic(path)) for path in paths)
        _WRITERS[output.suffix](simulated.table, table_part)
        facts_part.write_text(facts + "\n", encoding="utf-8")
        pyarrow.parquet.write_table(expectation, expectation_part)
    return paths
