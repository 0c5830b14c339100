"""Refusals of run folders, of the store and of comparisons."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hi_ml.app.called import to_train
from hi_ml.app.errors.wording import DIGITS, LONGEST_REASON, HiMlError, command_to_track, hint, one_line, some


class TrackingFailed(HiMlError):
    """The run stands in its folder, but MLflow did not take it."""

    @classmethod
    def of(cls, folder: Path, uri: str, reason: object) -> Self:
        text = one_line(re.sub(r"\[SQL:.*|\(raised as a result of[^)]*\)", "", str(reason), flags=re.DOTALL))
        return cls(
            f"MLflow at {uri} did not take the run: {text[:300] or 'it gave no reason'}. "
            f"Nothing is lost: the run stands in {folder}. "
            f"Send it when the store answers: {command_to_track(folder)}"
        )

    @classmethod
    def deleted(cls, uri: str, experiment: str, number: str) -> Self:
        return cls(
            f"MLflow at {uri} keeps the experiment {experiment} as deleted, and takes no runs for it. Restore it: "
            f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow experiments restore --experiment-id {number}."
        )


_EXPECTED = "Expected the folder of one task: run=outputs/train/<timestamp>/length_of_stay"


class RunFolderInvalid(HiMlError):
    """A folder is no finished run of hi_ml."""

    @classmethod
    def of(cls, folder: Path, missing: str) -> Self:
        return cls(f"{folder} is no finished run: it has no {missing}. {_EXPECTED}")

    @classmethod
    def absent(cls, run: str | Path | None) -> Self:
        return cls(f"{'No run was named' if run is None else f'There is no folder {run}'}. {_EXPECTED}")

    @classmethod
    def strange(cls, folder: Path, what: str) -> Self:
        return cls(
            f"{folder} is not as hi_ml writes a run: {what}. Nothing was sent. Make the run again here: its "
            f"overrides.txt says with what."
        )

    @classmethod
    def unknown_code(cls, folder: Path, name: str, digest: str) -> Self:
        return cls(
            f"{folder} holds a model whose code, {name}, no version of hi_ml has written. Nothing was sent. Whoever "
            f"serves the model runs that code: read it, and if you trust it, say so: 'trust=[sha256:{digest}]'"
        )


class NotComparable(HiMlError):
    """Runs cannot be held against each other."""

    @classmethod
    def no_store(cls, uri: str, command: str | None = None) -> Self:
        return cls(
            f"There is no store of runs at {uri}. Expected tracked runs: {command or to_train()}, go to the folder "
            "where they were trained, or name run folders: report run=<folder>, compare runs=[<folder>,<folder>]"
        )

    @classmethod
    def unreachable(cls, uri: str, reason: object) -> Self:
        why = one_line(reason)[:LONGEST_REASON]
        return cls(f"MLflow at {uri} does not tell its runs: {why}. Check MLFLOW_TRACKING_URI, or name run folders.")

    @classmethod
    def too_few(
        cls, experiment: str, command: str, groups: Mapping[Any, Sequence[str]], known: Sequence[str] = ()
    ) -> Self:
        found = sum(map(len, groups.values()))
        apart = "; ".join(", ".join(names) for names in groups.values())
        more = f", each group on other data or another split: {apart}" if len(groups) > 1 else ""
        others = [name for name in known if name != experiment]
        return cls(
            f"Expected at least two finished runs of {experiment} on the same table and split, whose files are here, "
            f"found {found}{more}. Train another model on them: {command}\nOf runs of another machine the predictions "
            f"are here only if they were trained there with share_rows=true."
            + (f"\nThe store also has runs of {', '.join(others)}." if others else "")
        )

    @classmethod
    def unknown_run(cls, asked: str, experiment: str, known: Sequence[str]) -> Self:
        return cls(
            f"There is no run '{asked}'{hint(asked, known)}: neither a folder, nor the id or name of a finished run "
            f"of {experiment}, which has {some(known, most=10) or 'none'}."
        )

    @classmethod
    def unknown_task(cls, asked: str, known: Sequence[str]) -> Self:
        return cls(
            f"runs={asked} names no task of one dataset{hint(asked, known)}. The store has "
            f"{some(known, most=10) or 'none'}: set runs=<dataset>/<task>."
        )

    @classmethod
    def other_task(cls, label: str, task: str, asked: str) -> Self:
        return cls(f"Run {label} is of task {task}, not of {asked}. Set task={task}, or leave the run out.")

    @classmethod
    def digests(cls, runs: Mapping[tuple[str, str], Sequence[str]]) -> Self:
        listed = "; ".join(
            f"data {data[:DIGITS]} and split {split[:DIGITS]}: {', '.join(labels)}"
            for (data, split), labels in runs.items()
        )
        return cls(
            f"Runs on different data or splits cannot be compared: {listed}. Choose runs of one digest of each, or "
            f"train them again on the same table, split and seed."
        )

    @classmethod
    def damaged(cls, labels: Sequence[str], error: Exception) -> Self:
        return cls(
            f"One of the runs {some(labels)} says less of itself than it should ({type(error).__name__}: "
            f"{one_line(error)}). Leave it out by runs=[...], or train it again."
        )

    @classmethod
    def differ(cls, one: str, other: str, what: str) -> Self:
        return cls(f"Runs {one} and {other} cannot be compared: {what} differ. Leave one out by runs=[...].")


class NoContest(HiMlError):
    """A champion and a new model cannot be held against each other; the new one stays challenger."""

    @classmethod
    def other(cls, what: str, champion: object, challenger: object) -> Self:
        return cls(f"they differ in {what}, which is {challenger} here and {champion} of the champion")

    @classmethod
    def lacks(cls, roles: Sequence[str]) -> Self:
        return cls(f"the table has no {some(roles)}, which the champion needs")

    @classmethod
    def another_table(cls, differences: Sequence[str]) -> Self:
        return cls(
            f"this looks like another table than the champion's ({'; '.join(differences)}): give it a name of its own, "
            "dataset.name=<name>"
        )

    @classmethod
    def incomplete(cls, missing: str) -> Self:
        return cls(f"the champion keeps no {missing}")

    @classmethod
    def other_key(cls) -> Self:
        return cls(
            "the champion's rows are digested by another key than the one in .hi_ml/key, which was lost or is of "
            "another folder: runs of that key can no longer be paired with new ones"
        )
