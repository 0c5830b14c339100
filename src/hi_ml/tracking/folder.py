"""The run folder: every file that a run leaves, by name."""

import csv
import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hi_ml.app.errors import RunFolderInvalid
from hi_ml.app.files import atomic, write_json

REJECTED, _MANIFEST = "rejected.csv", "manifest.json"
_CONFIG, _OVERRIDES, _RUN, _TRACKED = "config.yaml", "overrides.txt", "run.json", "tracked.json"
_VERDICT, _LEAKAGE, _DATA, _TIMINGS, _SCORES = "verdict.json", "leakage.json", "data.json", "timings.json", "scores.csv"
_PROBES, _SIGNIFICANCE = "probes.json", "significance.json"
_CALIBRATION, _SUBGROUPS = "calibration.csv", "subgroups.csv"
_SEARCH, _TRIALS, _STUDY, _EXPERIMENTS = "search.json", "trials.csv", "study.journal", "experiment"
_FINDINGS, _EVIDENCE, _REPORT = "findings.json", "findings.csv", "report.html"
_PREDICTIONS, _CONTRIBUTIONS = "predictions.parquet", "shap_values.parquet"
_COMPARISON, _COMPARED, _DIFFERING = "compare.csv", "runs.csv", "configuration.csv"
ROWS = "rows.parquet"
TOLD = (_RUN, _DATA, _TIMINGS, _CONFIG, _OVERRIDES, _VERDICT, _LEAKAGE, _SCORES, _PREDICTIONS)
"""What a run of a task tells of itself: enough for `RunFolder.read` and `RunFolder.predictions`."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one trained task."""

    path: Path

    @property
    def charts(self) -> Path:
        """Where the charts of the scores go."""
        return self._made("charts")

    @property
    def explanation(self) -> Path:
        """Where contributions and their charts go."""
        return self._made("explanation")

    @property
    def model(self) -> Path:
        """Where the MLflow model goes."""
        return self.path / "model"

    @property
    def study(self) -> Path:
        """Where the finished trials of a search stand, one line each; it may be continued from there."""
        return self.path / _STUDY

    def write_request(self, config: Mapping[str, Any], overrides: list[str]) -> None:
        """Write the composed configuration and what was asked on the command line."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        (self.path / _CONFIG).write_text(text, encoding="utf-8")
        (self.path / _OVERRIDES).write_text("".join(f"{line}\n" for line in overrides), encoding="utf-8")

    def write_judgement(self, verdict: Mapping[str, Any], scores: pd.DataFrame, leakage: Mapping[str, Any]) -> None:
        """Write how good the model is."""
        write_json(self.path / _VERDICT, verdict)
        write_json(self.path / _LEAKAGE, leakage)
        scores.to_csv(self.path / _SCORES, index=False)

    def write_checks(self, calibration: pd.DataFrame, subgroups: pd.DataFrame) -> None:
        """Write how well calibrated the model is, and for whom it is better or worse."""
        calibration.to_csv(self.path / _CALIBRATION, index=False)
        subgroups.to_csv(self.path / _SUBGROUPS, index=False)

    def write_probes(self, probes: list[dict[str, Any]], significance: Mapping[str, Any] | None) -> None:
        """Write what the probes for leaks found and, if it was asked for, the permutation test."""
        write_json(self.path / _PROBES, probes)
        if significance is not None:
            write_json(self.path / _SIGNIFICANCE, significance)

    def write_search(self, search: Mapping[str, Any], trials: pd.DataFrame) -> None:
        """Write what a search found, and every trial of it."""
        write_json(self.path / _SEARCH, search)
        trials.to_csv(self.path / _TRIALS, index=False)

    def write_experiment(self, name: str, text: str) -> None:
        """Write named overrides where Hydra finds them when this folder is its ``--config-dir``."""
        (self._made(_EXPERIMENTS) / f"{name}.yaml").write_text(text, encoding="utf-8")

    def write_findings(self, findings: list[dict[str, Any]], evidence: pd.DataFrame) -> None:
        """Write the claims with their verdicts, and their evidence as one flat table."""
        write_json(self.path / _FINDINGS, findings)
        evidence.to_csv(self.path / _EVIDENCE, index=False)

    def write_report(self, page: str) -> None:
        """Write the page for readers."""
        (self.path / _REPORT).write_text(page, encoding="utf-8")

    def write_provenance(self, run: Mapping[str, Any], data: Mapping[str, Any], timings: Mapping[str, float]) -> None:
        """Write what was run, on which data, and how long it took."""
        write_json(self.path / _RUN, run)
        write_json(self.path / _DATA, data)
        write_json(self.path / _TIMINGS, {step: round(seconds, 3) for step, seconds in timings.items()})

    def write_rows(self, predictions: pd.DataFrame, contributions: pd.DataFrame) -> None:
        """Write what was said of single rows."""
        predictions.to_parquet(self.path / _PREDICTIONS, index=False)
        contributions.to_parquet(self.explanation / _CONTRIBUTIONS, index=False)

    def write_parts(self, rows: pd.DataFrame) -> None:
        """Write which row went to which part, and by which digest it is known again."""
        rows.to_parquet(self.path / ROWS, index=False)

    def write_comparison(self, differences: pd.DataFrame, runs: pd.DataFrame, configuration: pd.DataFrame) -> None:
        """Write how far runs are apart, their scores, and in which settings they differ."""
        differences.to_csv(self.path / _COMPARISON, index=False)
        runs.to_csv(self.path / _COMPARED, index=False)
        configuration.to_csv(self.path / _DIFFERING, index=False)

    def write_batch(self, manifest: Mapping[str, Any], timings: Mapping[str, float]) -> None:
        """Write what was scored in batch, and how long it took."""
        write_json(self.path / _MANIFEST, manifest)
        write_json(self.path / _TIMINGS, {step: round(seconds, 3) for step, seconds in timings.items()})

    def write_about(self, run: Mapping[str, Any]) -> None:
        """Write what was run."""
        write_json(self.path / _RUN, run)

    def write_tracked(self, place: Mapping[str, Any]) -> None:
        """Write which MLflow run shows this folder, by store."""
        write_json(self.path / _TRACKED, place)

    def read(self) -> dict[str, Any]:
        """Return all that the folder says of the run, by the stem of the file.

        Raises
        ------
        RunFolderInvalid
            If a file of a finished run is absent or damaged.
        """
        found: dict[str, Any] = {}
        judged: tuple[str, ...] = (_VERDICT, _LEAKAGE, _SCORES)
        judged = (_FINDINGS,) if (self.path / _FINDINGS).is_file() else judged
        judged = (_SEARCH, _TRIALS) if (self.path / _SEARCH).is_file() else judged
        for name in (_RUN, _DATA, _TIMINGS, _CONFIG, _OVERRIDES, *judged):
            if not (self.path / name).is_file():
                raise RunFolderInvalid.of(self.path, name)
            found[Path(name).stem] = self._loaded(name)
        if (self.path / _SIGNIFICANCE).is_file():
            found[Path(_SIGNIFICANCE).stem] = self._loaded(_SIGNIFICANCE)
        return found

    def verdict(self, default: str) -> str:
        """Return the verdict on the model, or the default where the folder holds none."""
        return str(self._loaded(_VERDICT)["verdict"]) if (self.path / _VERDICT).is_file() else default

    def predictions(self) -> pd.DataFrame:
        """Return what was said of the test rows.

        Raises
        ------
        RunFolderInvalid
            If the folder does not say.
        """
        return self._table(_PREDICTIONS)

    def parts(self) -> pd.DataFrame:
        """Return which row went to which part.

        Raises
        ------
        RunFolderInvalid
            If the folder does not say.
        """
        return self._table(ROWS)

    def tracked(self) -> dict[str, Any]:
        """Return which MLflow run shows this folder, by store; empty where none does."""
        return dict(self._loaded(_TRACKED)) if (self.path / _TRACKED).is_file() else {}

    def files(self) -> list[Path]:
        """List what belongs to the run: all but the note of where it is tracked, and what is a run of its own."""
        others = [path.parent for path in self.path.glob(f"*/{_RUN}")]
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.is_file() and path.name != _TRACKED and not any(map(path.is_relative_to, others))
        )

    def _table(self, name: str) -> pd.DataFrame:
        if not (self.path / name).is_file():
            raise RunFolderInvalid.of(self.path, name)
        return pd.read_parquet(self.path / name)

    def _loaded(self, name: str) -> Any:
        try:
            return _loaded(self.path / name)
        except (ValueError, yaml.YAMLError) as error:
            raise RunFolderInvalid.of(self.path, f"readable {name}") from error

    def _made(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder


def as_csv(cells: pd.DataFrame, *, header: bool = True) -> str:
    """Return rejected cells as CSV that reads back to the character, with all text quoted where it must be."""
    # a bare carriage return ends a line for a reader, but needs no quotes for the csv module before Python 3.13
    bare = any(cells[name].astype(str).str.contains("\r").any() for name in cells)
    return cells.to_csv(
        index=False, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    )


def keep_rejected(folder: Path, cells: pd.DataFrame) -> Path:
    """Write the cells that could not be read, in the folder of a command, and return where."""
    path = folder / REJECTED
    with atomic(path) as part:
        part.write_bytes(as_csv(cells).encode())
    return path


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in, whose content moves to ``path`` when all is written and vanishes on any failure.

    Raises
    ------
    FileExistsError
        If a finished run stands there: it is not mixed with another.
    """
    if (path / _RUN).exists():
        raise FileExistsError(errno.EEXIST, "a finished run stands there already", str(path))
    work = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        if path.is_dir() and any(path.iterdir()):  # rejected.csv stands there already
            for entry in path.iterdir():
                entry.replace(work / entry.name)
        work.replace(path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _loaded(path: Path) -> Any:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    return yaml.safe_load(text) if path.suffix == ".yaml" else text.splitlines()
