"""Which registered version is the champion? A new one has to earn it on rows that the champion was not trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import NoContest
from hi_ml.app.text import apart
from hi_ml.scorer.serving import MAPPING, Scorer, load
from hi_ml.statistics.bootstrap import Difference, mean_difference
from hi_ml.statistics.groups import group_means
from hi_ml.tracking.folder import ROWS, RunFolder
from hi_ml.tracking.head_to_head import PairedLosses
from hi_ml.tracking.record import Record

CHAMPION, CHALLENGER = "champion", "challenger"
FEWEST_GROUPS = 500  # that the champion was not trained on
_ERROR = 0.05  # chance of a false promotion, over all comparisons on one split (Bonferroni)
_COMPARED_ON = "compared_on"  # the tag that counts them
_MOST = 10_000  # comparisons on one split that are counted
_LONGEST = 300  # characters of what a library says

Promote = Literal["auto", "always", "never"]
Meet = Callable[[Scorer, Sequence[str]], PairedLosses]


@dataclass(frozen=True)
class PromotionPolicy:
    """On which terms a model may become champion."""

    promote: Promote = "auto"  # ``never`` leaves an existing champion where it is
    # lets the champion predict the test part of the new model; takes the champion and the roles behind the
    # digests of its rows. None where no table is at hand
    head_to_head: Meet | None = None


@dataclass(frozen=True)
class Decision:
    """What became of a new version, and why."""

    alias: str
    reason: str
    difference: Difference | None = None  # loss of the champion less that of the new version, where they met
    groups: int = 0  # on which they met; made on this split, this one included
    comparisons: int = 0
    against: str = ""  # version of the champion

    def tags(self) -> dict[str, str]:
        """Say it in tags."""
        said = {"promotion": self.alias, "promotion_reason": self.reason}
        if self.difference is not None:
            ends = {name: getattr(self.difference, name) for name in ("low", "high")}
            met = {"difference": self.difference.value, **ends, "k": self.comparisons, "groups": self.groups}
            met["against"] = self.against
            said |= {f"promotion_{name}": str(value) for name, value in met.items()}
        return said


@dataclass(frozen=True)
class Registered:
    """A new version of a registered model."""

    model: str
    version: str
    alias: str
    promotion: str  # why it has that alias
    champion_verdict: str  # of the version that carries the alias ``champion`` now


def register(client: Any, made: Record, *, run_id: str, model_id: str, terms: PromotionPolicy) -> Registered:
    """Register a logged model as a new version, and decide whether it becomes the champion.

    Parameters
    ----------
    client : MlflowClient
        As `hi_ml.tracking.store.client_of` gives it, while the store is locked: two versions must not be decided on
        at once.

    Returns
    -------
    Registered
        The first version is the champion. The alias moves, the old champion keeps its version.
    """
    name, split = made.registered, made.tags["split_sha256"]
    champion = _aliases(client, name).get(CHAMPION)
    decision = _decided(client, made, terms, champion)
    tags = {"verdict": made.verdict, **decision.tags()}
    if decision.difference is not None:
        tags[_COMPARED_ON] = split
    version = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=tags, description=made.sentence,
    )  # fmt: skip
    client.set_registered_model_alias(name, decision.alias, version.version)
    for key, value in decision.tags().items():
        client.set_tag(run_id, key, value)
    now = client.get_model_version_by_alias(name, CHAMPION)
    return Registered(name, str(version.version), decision.alias, decision.reason, now.tags.get("verdict", "unknown"))


def judged(meeting: PairedLosses, trained_on: NDArray[np.uint64], *, comparisons: int) -> Decision:
    """Decide from what a champion and a challenger each lost on the challenger's test part.

    Parameters
    ----------
    trained_on : array of uint64
        Digests of the rows that the champion was trained on; groups with one of them are left out.
    comparisons : int
        Made on this split, this one included.

    Returns
    -------
    Decision
        ``champion`` if the paired interval at 1 - 0.05 / comparisons lies above zero, that is, in the new one's favour.
    """
    known = np.unique(meeting.group[np.isin(meeting.digest, trained_on)])
    strange = ~np.isin(meeting.group, known)
    groups = len(np.unique(meeting.group[strange]))
    if groups < FEWEST_GROUPS:
        return Decision(
            CHALLENGER,
            f"only {groups:,} groups of its test part are new to the champion, {FEWEST_GROUPS} are needed",
            groups=groups,
        )
    champion, challenger = (
        group_means(loss[strange], meeting.group[strange]) for loss in (meeting.champion, meeting.challenger)
    )
    level = 1 - _ERROR / comparisons
    found = mean_difference(champion, challenger, level=level)
    value, interval = apart(found.value, found.low, found.high)
    measured = (
        f"mean loss of the champion less its own {value} {meeting.unit} ({100 * level:.4g} % interval {interval}; "
        f"{groups:,} groups, comparison {comparisons} on this split)"
    )
    if found.low > 0:
        return Decision(CHAMPION, f"better than the last champion: {measured}", found, groups, comparisons)
    return Decision(CHALLENGER, f"not shown to be better: {measured}", found, groups, comparisons)


def _aliases(client: Any, name: str) -> dict[str, str]:
    """The versions by alias of a registered model, which is made if there is none."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- a second and a half, see `client_of`

    try:
        known = client.get_registered_model(name)
    except MlflowException:
        known = client.create_registered_model(name)
    return dict(known.aliases)


def _decided(client: Any, made: Record, terms: PromotionPolicy, champion: str | None) -> Decision:
    if champion is None:
        return Decision(CHAMPION, "there was no champion")
    if terms.promote != "auto":
        return Decision(CHAMPION if terms.promote == "always" else CHALLENGER, f"promote={terms.promote}")
    if terms.head_to_head is None:
        return Decision(CHALLENGER, "no table at hand to hold it against the champion")
    if made.verdict != "signal":
        return Decision(CHALLENGER, f"its verdict is {made.verdict}")
    try:
        meeting, trained_on = _met(client, made.registered, champion, terms.head_to_head)
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with an old champion, the new run must not be lost
        return Decision(CHALLENGER, f"not held against the champion: {_said(error)}")
    return replace(judged(meeting, trained_on, comparisons=1 + _comparisons(client, made)), against=champion)


def _met(client: Any, name: str, version: str, head_to_head: Meet) -> tuple[PairedLosses, NDArray[np.uint64]]:
    """Load the champion, let it predict, and return the digests of the rows that it was trained on too."""
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 -- as above

    champion = client.get_model_version(name, version)
    with TemporaryDirectory() as place:
        if ROWS not in {file.path for file in client.list_artifacts(champion.run_id)}:
            raise NoContest.incomplete(f"{ROWS}, by which its training rows are known")
        client.download_artifacts(champion.run_id, ROWS, place)
        rows = RunFolder(Path(place)).parts()
        model = Path(download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(Path(place) / "model")))
        mapping = next(model.rglob(MAPPING), None)
        if mapping is None:
            raise NoContest.incomplete(MAPPING)
        meeting = head_to_head(load(mapping.parent), rows.attrs["roles"])
    return meeting, rows.loc[rows["part"] == "train", "digest"].to_numpy()


def _comparisons(client: Any, made: Record) -> int:
    """Count the versions that met a champion on this split."""
    asked = f"name = '{made.registered}' and tags.{_COMPARED_ON} = '{made.tags['split_sha256']}'"
    return len(client.search_model_versions(asked, max_results=_MOST))


def _said(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
