"""python -m hi_ml.findings: states the claims people make about admissions, tests them, and reports."""

import time
from functools import partial
from typing import Annotated, Any, Literal

import hydra
from omegaconf import DictConfig
from pydantic import Field

from hi_ml.app import launch
from hi_ml.app.config import arguments, conf_dir
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.distinct import DistinctAdmissions, one_row_each
from hi_ml.claims.verdicts import difference
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.read import Admissions, read
from hi_ml.data.schema import Dataset
from hi_ml.reports.findings import FindingsRun, write
from hi_ml.tracking.folder import RunFolder, atomic_folder, keep_rejected
from hi_ml.tracking.send import send
from hi_ml.tracking.store import command_to_open, store_uri


def findings(
    *,
    dataset: Dataset,
    findings: dict[str, Any],
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    keep_duplicates: bool,
    tracking: Literal["default", "none"],
    here: launch.Invocation,
) -> None:
    """State and test the claims on one table.

    Parameters
    ----------
    findings : dict of str to dict
        Settings by claim.
    seed : int
        Fixes everything random.
    keep_duplicates : bool
        Keep near-duplicates, to show what would have been claimed; never a result.
    tracking : {"default", "none"}

    Raises
    ------
    HiMlError
        If the table cannot be read, or the run cannot be tracked; then its folder stands.
    """
    started = time.time()
    admissions = read(dataset, partial(keep_rejected, here.folder))
    settings = settings_of(findings)
    distinct = _distinct(admissions, seed=seed, keep=keep_duplicates)
    stated = state(distinct, settings)
    with_copies = None
    if distinct.copies:
        with_copies = difference(stated, state(_distinct(admissions, seed=seed, keep=True), settings))
    words = PrivateWords.of(admissions.private, admissions.public)
    result = FindingsRun(stated, with_copies, admissions, len(distinct.rows), seed, keep_duplicates)
    with atomic_folder(here.folder) as work:
        write(result, RunFolder(work), here=here, words=words, started=started)
    _say(result, here)
    if tracking == "none":
        print(f"python -m hi_ml.track run={here.folder}")
        return
    send(RunFolder(here.folder))
    print(command_to_open(store_uri()))


def _distinct(admissions: Admissions, *, seed: int, keep: bool) -> DistinctAdmissions:
    frame = admissions.table.assign(**admissions.coded)
    return one_row_each(
        frame, admissions.twins.group, declarations=admissions.dataset.declarations, seed=seed, keep_duplicates=keep
    )


def _say(stated: FindingsRun, here: launch.Invocation) -> None:
    for finding in stated.findings:
        print(f"\n{finding.claim}\n  {finding.verdict.replace('_', ' ').upper()} ({finding.reason})")
        for sentence in finding.sentences:
            print(f"  {sentence}")
    if stated.with_copies:
        print(f"\n{stated.with_copies}")
    print(f"\nRun folder: {here.folder}\n")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="findings")
def main(cfg: DictConfig) -> None:
    """Run the command from its configuration."""
    launch.quiet()
    with launch.one_sentence():
        findings(**arguments(findings, cfg), here=launch.Invocation.of(cfg))


if __name__ == "__main__":
    launch.run(main)
