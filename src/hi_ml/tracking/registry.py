"""Which registered version is the champion? A new one has to earn it on rows that the champion was not trained on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.app.errors import NoContest
from hi_ml.app.text import number, signed_interval
from hi_ml.scorer.serving import MAPPING, Scorer, load
from hi_ml.statistics.bootstrap import Difference, mean_difference
from hi_ml.statistics.multiplicity import spent
from hi_ml.tracking.contest import PairedLosses
from hi_ml.tracking.folder import DIGESTS, RunFolder
from hi_ml.tracking.record import VERDICT, Record

CHAMPION, CHALLENGER = "champion", "challenger"
FEWEST_GROUPS = 500  # that the champion was not trained on
_ERROR = 0.05  # chance of a false promotion, over all comparisons of one champion's life
_PROMOTION = "promotion"  # the tag of what became of a version, and how the tags that tell more of it begin
_COMPARISONS = "comparisons"  # the tag of a version that counts those that it was held against as champion
_VALIDATED = "validated"  # how the tags of a version begin that say where it was validated
_DIGITS = 12  # of a digest, enough to tell two apart
_LONGEST = 300  # characters of what a library says
_OTHERWISE = "promote=always, once, makes it champion all the same"


Promote = Literal["auto", "always", "never"]
Contest = Callable[[Scorer, pd.DataFrame], PairedLosses]


@dataclass(frozen=True)
class PromotionPolicy:
    """On which terms a model may become champion."""

    promote: Promote = "auto"  # ``never`` leaves an existing champion where it is
    # lets the champion predict the test part of the new model; takes the champion and the rows of its run. None where
    # no table is at hand
    contest: Contest | None = None
    smallest_gain: float = 0.0  # share of the champion's loss: a smaller one is not worth a change


@dataclass(frozen=True)
class Decision:
    """What became of a new version, and why."""

    alias: str
    reason: str
    difference: Difference | None = None  # loss of the champion less that of the new version, where they met
    groups: int = 0  # on which they met
    comparisons: int = 0  # of the champion, this one included
    against: str = ""  # version of the champion

    def tags(self) -> dict[str, str]:
        """Say it in tags."""
        tags = {_PROMOTION: self.alias, f"{_PROMOTION}_reason": self.reason}
        if self.difference is not None:
            numbers = {"difference": self.difference.value, "low": self.difference.low, "high": self.difference.high}
            facts = {**numbers, "k": self.comparisons, "groups": self.groups, "against": self.against}
            tags |= {f"{_PROMOTION}_{name}": str(fact) for name, fact in facts.items()}
        return tags


@dataclass(frozen=True)
class Registered:
    """A new version of a registered model."""

    model: str
    version: str
    alias: str
    promotion: str  # why it has that alias
    champion_verdict: str  # of the version that carries the alias ``champion`` now


def register(client: Any, run: Record, *, run_id: str, model_id: str, policy: PromotionPolicy) -> Registered:
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
    name = run.registered_name
    decision = _decide(client, run, policy, _aliases(client, name).get(CHAMPION))
    tags = {VERDICT: run.tags[VERDICT], **decision.tags()}
    version = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=tags, description=run.card,
    )  # fmt: skip
    return announce(client, version)


def announce(client: Any, version: Any) -> Registered:
    """Give a version its alias and its run the reason, as its tags say; a second time nothing changes."""
    promotion = {key: value for key, value in version.tags.items() if key.startswith(_PROMOTION)}
    alias, reason = promotion[_PROMOTION], promotion[f"{_PROMOTION}_reason"]
    client.set_registered_model_alias(version.name, alias, version.version)
    for key, value in promotion.items():
        client.set_tag(version.run_id, key, value)
    now = client.get_model_version_by_alias(version.name, CHAMPION)
    return Registered(version.name, str(version.version), alias, reason, now.tags.get(VERDICT, "unknown"))


def remember_validation(client: Any, folder: RunFolder, run_id: str) -> str:
    """Note on a registered version where it was validated, when, and with which verdict; its files stay as they are.

    Returns
    -------
    str
        Which versions remember it, or that none does, as a sentence.
    """
    run, data, validation = (folder.load(one) for one in ("run", "data", "validation"))
    when = time.strftime("%Y-%m-%d", time.gmtime(run["finished"]))
    words = f"{validation['verdict']} on {when}, {validation['n_admissions']:,} admissions, run {run_id}"
    model = validation.get("model", {})
    versions = [(model["name"], model["version"])] if model.get("version") else []
    if not versions and model.get("run_id"):
        found = client.search_model_versions(f"run_id = '{model['run_id']}'")
        versions = [(one.name, str(one.version)) for one in found]
    for name, version in versions:
        client.set_model_version_tag(name, version, f"{_VALIDATED}.{run['dataset']}.{data['sha256'][:_DIGITS]}", words)
    if not versions:
        return "No registered version is this model, so none remembers this validation."
    return "; ".join(f"{name} version {version} remembers it" for name, version in versions) + "."


def judge(pair: PairedLosses, trained_on: NDArray[np.uint64], *, comparisons: int, smallest: float = 0.0) -> Decision:
    """Decide from what a champion and a challenger each lost on the challenger's test part.

    Parameters
    ----------
    trained_on : array of uint64
        Digests of the rows that the champion was trained on; units with one of them are left out.
    comparisons : int
        Of the champion with others, on whatever rows, this one included.
    smallest : float
        Gain that is worth a change, as a share of the champion's loss.

    Returns
    -------
    Decision
        ``champion`` if the paired interval lies above zero, that is, in the new one's favour, and the gain is not
        smaller than ``smallest``. The interval's error is what `hi_ml.statistics.multiplicity.spent` allows the k-th
        comparison: over all that a champion ever stands, models as good as it take its place in 5 % of its lives at
        most, however they and their splits are chosen.
    """
    unit = pair.units.unit
    new = ~np.isin(unit, unit[np.isin(pair.digest, trained_on)])
    units = pair.units.only(new)
    groups = len(np.unique(unit[new]))
    if groups < FEWEST_GROUPS:
        return _challenger(
            f"only {groups:,} groups of its test part are new to the champion, {FEWEST_GROUPS} are needed",
            groups=groups,
        )
    before, after = pair.champion[new], pair.challenger[new]
    level = 1 - spent(comparisons, error=_ERROR)
    difference = mean_difference(units.sums(before), units.sums(after), votes=units.counts, level=level)
    value, interval = signed_interval(difference.value, difference.low, difference.high)
    counted = units.describe(units.design_effect(before - after))
    measured = (
        f"mean loss of the champion less its own {value} {pair.unit} ({100 * level:.6g} % interval {interval}; "
        f"{counted}; comparison {comparisons} of this champion, each champion's count starts anew)"
    )
    needed = smallest * units.mean(before)
    if difference.low > 0 and difference.value >= needed:
        return Decision(CHAMPION, f"better than the last champion: {measured}", difference, groups, comparisons)
    missing = (
        "the interval would have to lie above 0"
        if difference.low <= 0
        else f"{number(needed)} {pair.unit} are needed, {100 * smallest:g} % of the champion's loss"
    )
    short = "better, but by too little" if difference.low > 0 else "not shown to be better"
    reason = f"{short}: {measured}; {missing}; {_OTHERWISE}"
    return Decision(CHALLENGER, reason, difference, groups, comparisons)


def _challenger(why: str, *, groups: int = 0) -> Decision:
    """Leave the champion where it is without a comparison, and say what would not."""
    return Decision(CHALLENGER, f"{why}; {_OTHERWISE}", groups=groups)


def _aliases(client: Any, name: str) -> dict[str, str]:
    """The versions by alias of a registered model, which is made if there is none."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- a second and a half, see `client_of`

    try:
        model = client.get_registered_model(name)
    except MlflowException:
        about = f"Models of {name.replace('.', ', ').replace('_', ' ')}; the champion is the one that predict takes."
        model = client.create_registered_model(name, description=about)
    return dict(model.aliases)


def _decide(client: Any, run: Record, policy: PromotionPolicy, champion: str | None) -> Decision:
    if champion is None:
        return Decision(CHAMPION, "there was no champion")
    if policy.promote != "auto":
        return Decision(CHAMPION if policy.promote == "always" else CHALLENGER, f"promote={policy.promote}")
    if policy.contest is None:
        return _challenger("no table at hand to hold it against the champion")
    if run.tags[VERDICT] != "signal":
        return _challenger(f"its verdict is {run.tags[VERDICT]}, signal is needed")
    name = run.registered_name
    try:
        pair, trained_on = _meet(client, name, champion, policy.contest)
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with an old champion, the new run must not be lost
        reason = (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
        return _challenger(f"not held against the champion: {reason}")
    comparisons = 1 + int(client.get_model_version(name, champion).tags.get(_COMPARISONS, 0))
    decision = judge(pair, trained_on, comparisons=comparisons, smallest=policy.smallest_gain)
    if decision.difference is not None:  # counted before anything else can fail
        client.set_model_version_tag(name, champion, _COMPARISONS, str(comparisons))
    return replace(decision, against=champion)


def _meet(client: Any, name: str, version: str, contest: Contest) -> tuple[PairedLosses, NDArray[np.uint64]]:
    """Load the champion, let it predict, and return the digests of the rows that it was trained on too."""
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 -- as above

    champion = client.get_model_version(name, version)
    with TemporaryDirectory() as folder:
        if DIGESTS not in {file.path for file in client.list_artifacts(champion.run_id)}:
            raise NoContest.incomplete(f"{DIGESTS}, by which its training rows are known")
        client.download_artifacts(champion.run_id, DIGESTS, folder)
        rows = RunFolder(Path(folder)).load("digests")
        model = download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(Path(folder) / "model"))
        mapping = next(Path(model).rglob(MAPPING), None)
        if mapping is None:
            raise NoContest.incomplete(MAPPING)
        pair = contest(load(mapping.parent), rows)
    return pair, rows.loc[rows["train"], "digest"].to_numpy()
