"""The run folder: every file that a run leaves, by name."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import yaml

from hi_ml.app.errors import RunFolderInvalid
from hi_ml.app.files import UNFINISHED, atomic, load_yaml, write_json

FILES = {  # of a run, by what they hold; one of an assessment that does not ship gets <its name>.csv or .json
    "config": "config.yaml",  # the composed configuration
    "overrides": "overrides.txt",  # what was asked on the command line
    "run": "run.json",  # what was run
    "data": "data.json",  # on which data
    "timings": "timings.json",  # seconds per step
    "tracked": "tracked.json",  # which MLflow run shows this folder, by store
    "sending": "sending.json",  # by which key a store knows it again that was not told the end
    "rejected": "rejected.csv",  # cells that could not be read
    "report": "report.html",  # the page for readers
    "tripod": "tripod_ai.json",  # what the run says to each item of the checklist for reports
    # a trained task
    "split": "split.json",  # what the parts share: the certificate that they are apart
    "attrition": "attrition.csv",  # rows that the dataset's rules leave out
    "verdict": "verdict.json",
    "scores": "scores.csv",
    "repeats": "repeats.json",  # the verdict of each of several splits
    "leakage": "leakage.json",
    "calibration": "calibration.csv",
    "usefulness": "usefulness.csv",
    "subgroups": "subgroups.csv",
    "holdout": "holdout.csv",  # hospitals, or another column's levels, left out in turn
    "significance": "significance.json",
    "probes": "probes.json",
    "first_look": "first_look.csv",
    "explanation": "explanation/shap_values.parquet",
    "predictions": "predictions.parquet",  # of the test rows
    "rows": "rows.parquet",  # which row went to which part, and by which digest it is known again
    "digests": "digests.parquet",  # the digests alone, by the site's key: what MLflow gets of the rows
    # a search
    "search": "search.json",
    "trials": "trials.csv",
    "study": "study.journal",  # finished trials, one line each; a search may be continued from there
    # findings
    "findings": "findings.json",
    "evidence": "findings.csv",
    # a validation
    "validation": "validation.json",
    "transport": "transport.csv",  # what the model is there, beside home
    "crosswalk": "crosswalk.csv",  # which level is which of the model's
    "shift": "shift.csv",  # of columns
    # a comparison
    "differences": "compare.csv",
    "runs": "runs.csv",
    "configuration": "configuration.csv",
    # a batch
    "manifest": "manifest.json",
}
_FORMULA, _NUMBER = re.compile(r"[=+\-@\t']"), re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?")
_MADE_HARMLESS = re.compile(rf"^'(?={_FORMULA.pattern})")
OF_OTHER_STEPS = (FILES["rejected"], FILES["study"])  # stand in the folder before the rest is written
REJECTED, DIGESTS = FILES["rejected"], FILES["digests"]
_ALWAYS = ("run", "data", "timings", "config", "overrides")
_JUDGED = {  # by the kind of the run; that of a trained task has no name
    "search": ("search", "trials"),
    "findings": ("findings",),
    "validation": ("validation", "scores", "transport"),
    "": ("verdict", "leakage", "scores"),
}
_NOTES = (FILES["tracked"], FILES["sending"])  # of where it is tracked
_ASIDE = (REJECTED, *_NOTES)  # not what was measured
NEEDED = tuple(FILES[name] for name in (*_ALWAYS, *_JUDGED[""], "predictions"))
"""What a run of a task tells of itself: enough for `RunFolder.read` and its predictions."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: a trained task, a search, findings, a validation, a comparison or a batch."""

    path: Path

    @property
    def charts(self) -> Path:
        """Where the charts go, but those of an explanation."""
        return self.path / "charts"

    @property
    def explanation(self) -> Path:
        """Where contributions and their charts go."""
        return self.path / "explanation"

    @property
    def model(self) -> Path:
        """Where the MLflow model goes."""
        return self.path / "model"

    @property
    def experiments(self) -> Path:
        """Where named overrides go, which Hydra finds when this folder is its ``--config-dir``."""
        return self.path / "experiment"

    @property
    def study(self) -> Path:
        """Where the finished trials of a search stand."""
        return self.path / FILES["study"]

    def write(self, **contents: Any) -> None:
        """Write tables, plain values, lines or text, each to its file; None is not written."""
        for name, content in contents.items():
            if content is not None:
                path = self.path / FILES.get(name, f"{name}.{'csv' if isinstance(content, pd.DataFrame) else 'json'}")
                path.parent.mkdir(exist_ok=True)
                _write(path, content)

    def read(self) -> dict[str, Any]:
        """Return all that the folder says of the run, as `write` takes it; of tables by row only what was measured.

        Raises
        ------
        RunFolderInvalid
            If a file of a finished run is absent or damaged.
        """
        kind = next((kind for kind in _JUDGED if kind and self.keeps(kind)), "")
        contents = {name: self.load(name) for name in (*_ALWAYS, *_JUDGED[kind])}
        others = [path for end in ("csv", "json") for path in self.path.glob(f"*.{end}") if path.name not in _ASIDE]
        measured = sorted({path.stem for path in others} - contents.keys()) if not kind else []
        return contents | {name: self.load(name) for name in measured}

    def load(self, name: str) -> Any:
        """Return the content of one file.

        Raises
        ------
        RunFolderInvalid
            If it is absent or damaged.
        """
        path = self._find(name)
        if not path.is_file():
            raise RunFolderInvalid.of(self.path, path.name)
        return self.content(path)

    def content(self, path: Path) -> Any:
        """Return the content of any file of the folder; raises as `load`."""
        try:
            return _load(path)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RunFolderInvalid.of(self.path, f"readable {path.name}") from error

    def keeps(self, name: str) -> bool:
        """Tell whether there is a file of that name."""
        return self._find(name).is_file()

    def verdict(self, default: str) -> str:
        """Return the verdict on the model, or the default where the folder holds none."""
        return str(self.load("verdict")["verdict"]) if self.keeps("verdict") else default

    def tracked(self) -> dict[str, Any]:
        """Return which MLflow run shows this folder, by store; empty where none does."""
        return dict(self.load("tracked")) if self.keeps("tracked") else {}

    def sending(self) -> str:
        """Return the key of this sending: that of one that did not come to its end, or a new one, noted here first."""
        if not self.keeps("sending"):
            with atomic(self.path / FILES["sending"]) as part:
                write_json(part, {"key": uuid4().hex})
        key = self.load("sending")
        if not (isinstance(key, dict) and re.fullmatch("[0-9a-f]{32}", str(key.get("key")))):
            raise RunFolderInvalid.of(self.path, f"readable {FILES['sending']}")
        return str(key["key"])

    def sent(self, tracked: Mapping[str, Any]) -> None:
        """Note which runs show this folder, by store: the sending has come to its end."""
        self.write(tracked=tracked)
        (self.path / FILES["sending"]).unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """List what belongs to the run: neither notes of where it is tracked, nor runs inside of it, whole or not."""
        others = [*(path.parent for path in self.path.glob(f"*/{FILES['run']}")), *self.path.glob(f"*{UNFINISHED}")]
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.is_file() and path.name not in _NOTES and not any(map(path.is_relative_to, others))
        )

    def _find(self, name: str) -> Path:
        table = self.path / f"{name}.csv"
        return self.path / FILES.get(name, table.name if table.is_file() else f"{name}.json")


def as_csv(cells: pd.DataFrame, *, header: bool = True) -> str:
    """Return rejected cells as CSV; behind an apostrophe stands what a spreadsheet would run, or begins with one.

    All text is quoted where it must be, so that it reads back to the character but for those apostrophes.
    """
    texts = [str(name) for name in cells if not pd.api.types.is_numeric_dtype(cells[name])]
    cells = cells.assign(**{name: [_harmless(str(text)) for text in cells[name]] for name in texts})
    # a bare carriage return ends a line for a reader, but needs no quotes for the csv module before Python 3.13
    bare = any(cells[name].astype(str).str.contains("\r").any() for name in cells)
    return cells.to_csv(
        index=False, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    )


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, of which a spreadsheet runs no cell; `read_table` reads it back."""
    for name in table.select_dtypes(exclude="number"):
        if table[name].map(lambda cell: isinstance(cell, str) and _harmless(cell) != cell).any():
            table = table.assign(
                **{str(name): [_harmless(cell) if isinstance(cell, str) else cell for cell in table[name]]}
            )
    table.to_csv(path, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_table` wrote."""
    table = pd.read_csv(path)
    for name in table.select_dtypes(include=["object", "str"]):
        if table[name].map(lambda cell: isinstance(cell, str) and cell.startswith("'")).any():
            table[name] = [_MADE_HARMLESS.sub("", cell) if isinstance(cell, str) else cell for cell in table[name]]
    return table


def keep_rejected(folder: Path, cells: pd.DataFrame) -> Path:
    """Write the cells that could not be read, in the folder of a command, and return where."""
    path = folder / REJECTED
    with atomic(path) as part:
        part.write_bytes(as_csv(cells).encode())
    return path


def _write(path: Path, content: Any) -> None:
    if path.suffix == ".csv":
        write_table(path, content)
    elif path.suffix == ".parquet":
        content.to_parquet(path, index=False)
    elif path.suffix == ".json":
        write_json(path, content)
    elif path.suffix == ".yaml":
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), encoding="utf-8")
    else:
        path.write_text(
            content if isinstance(content, str) else "".join(f"{line}\n" for line in content), encoding="utf-8"
        )


def _load(path: Path) -> Any:
    if path.suffix == ".csv":
        return read_table(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    return load_yaml(text) if path.suffix == ".yaml" else text.splitlines()
