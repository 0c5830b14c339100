"""Which registered version is the champion? A new one has to earn it on rows that the champion was not trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.errors import NoContest
from hi_ml.app.text import signed_interval
from hi_ml.data.digests import row_digests
from hi_ml.data.schema import Dataset
from hi_ml.evaluation.assessment import FittedRun
from hi_ml.modeling.scores.score import losses, primary
from hi_ml.scorer.serving import MAPPING, Scorer, load
from hi_ml.statistics.bootstrap import Difference, mean_difference
from hi_ml.statistics.groups import group_means
from hi_ml.tracking.folder import ROWS, RunFolder
from hi_ml.tracking.record import SPLIT_DIGEST, VERDICT, Record

CHAMPION, CHALLENGER = "champion", "challenger"
FEWEST_GROUPS = 500  # that the champion was not trained on
_ERROR = 0.05  # chance of a false promotion, over all comparisons on one split (Bonferroni)
_PROMOTION = "promotion"  # the tag of what became of a version, and how the tags that tell more of it begin
_COMPARED_ON = "compared_on"  # the tag that counts comparisons
_MOST = 10_000  # comparisons on one split that are counted
_LONGEST = 300  # characters of what a library says
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedLosses:
    """Two models on the same rows."""

    unit: str  # of the losses
    group: NDArray[np.int64]  # int64, shape (n,)
    # uint64, shape (n,); by which rows are known again in another table, see `hi_ml.data.digests.row_digests`
    digest: NDArray[np.uint64]
    champion: Floats  # float64, shape (n,); primary losses
    challenger: Floats  # float64, shape (n,); primary losses


Promote = Literal["auto", "always", "never"]
Contest = Callable[[Scorer, Sequence[str]], PairedLosses]


@dataclass(frozen=True)
class PromotionPolicy:
    """On which terms a model may become champion."""

    promote: Promote = "auto"  # ``never`` leaves an existing champion where it is
    # lets the champion predict the test part of the new model; takes the champion and the roles behind the
    # digests of its rows. None where no table is at hand
    contest: Contest | None = None


@dataclass(frozen=True)
class Decision:
    """What became of a new version, and why."""

    alias: str
    reason: str
    difference: Difference | None = None  # loss of the champion less that of the new version, where they met
    groups: int = 0  # on which they met
    comparisons: int = 0  # made on this split, this one included
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
    if decision.difference is not None:
        tags[_COMPARED_ON] = run.tags[SPLIT_DIGEST]
    version = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=tags, description=run.sentence,
    )  # fmt: skip
    client.set_registered_model_alias(name, decision.alias, version.version)
    for key, value in decision.tags().items():
        client.set_tag(run_id, key, value)
    now = client.get_model_version_by_alias(name, CHAMPION)
    return Registered(name, str(version.version), decision.alias, decision.reason, now.tags.get(VERDICT, "unknown"))


def head_to_head(run: FittedRun, dataset: Dataset, champion: Scorer, roles: Sequence[str]) -> PairedLosses:
    """Let a champion predict the test part of a newly trained model.

    Parameters
    ----------
    run : FittedRun
        The challenger.
    dataset : Dataset
        Of its table.
    roles : sequence of str
        The columns over which the digests of the champion's rows were taken.

    Raises
    ------
    NoContest
        If the champion predicts something else, or needs a column that the table lacks.
    """
    problem = run.problem
    task = problem.task
    ours = {"target": task.target, "kind": task.kind, "unit": task.unit, "horizon": task.horizon}
    for name, value in {**ours, "labels": problem.labels}.items():
        if champion.mapping[name] != value:
            raise NoContest.other(name, champion.mapping[name], value)
    test = problem.where("test")
    table, target = problem.table[test], problem.target[test]
    needed = [spec["role"] for spec in champion.mapping["columns"]]
    if lacking := [role for role in dict.fromkeys([*needed, *roles]) if role not in table]:
        raise NoContest.lacks(lacking)
    predicted = _predict(champion, {role: pa.Array.from_pandas(table[role]) for role in needed})
    return PairedLosses(
        unit=primary(task).unit,
        group=problem.group[test],
        digest=row_digests(table[list(roles)], dataset.spellings()),
        champion=losses(task, target, predicted),
        challenger=losses(task, target, run.predicted),
    )


def _predict(scorer: Scorer, typed: dict[str, Any]) -> Floats:
    """Amounts, shape (n,), or probabilities of the labels, shape (n, n_labels)."""
    answer = scorer.answer(scorer.encode(scorer.numbers(typed)), typed)
    if scorer.mapping["kind"] == "regression":
        return np.asarray(answer["prediction"].to_numpy(), dtype=float)
    return np.column_stack([answer[f"p_{label}"].to_numpy() for label in scorer.mapping["labels"]])


def judge(pair: PairedLosses, trained_on: NDArray[np.uint64], *, comparisons: int) -> Decision:
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
    familiar = np.unique(pair.group[np.isin(pair.digest, trained_on)])
    new = ~np.isin(pair.group, familiar)
    groups = len(np.unique(pair.group[new]))
    if groups < FEWEST_GROUPS:
        return Decision(
            CHALLENGER,
            f"only {groups:,} groups of its test part are new to the champion, {FEWEST_GROUPS} are needed",
            groups=groups,
        )
    champion, challenger = (group_means(loss[new], pair.group[new]) for loss in (pair.champion, pair.challenger))
    level = 1 - _ERROR / comparisons
    difference = mean_difference(champion, challenger, level=level)
    value, interval = signed_interval(difference.value, difference.low, difference.high)
    measured = (
        f"mean loss of the champion less its own {value} {pair.unit} ({100 * level:.4g} % interval {interval}; "
        f"{groups:,} groups, comparison {comparisons} on this split)"
    )
    if difference.low > 0:
        return Decision(CHAMPION, f"better than the last champion: {measured}", difference, groups, comparisons)
    return Decision(CHALLENGER, f"not shown to be better: {measured}", difference, groups, comparisons)


def _aliases(client: Any, name: str) -> dict[str, str]:
    """The versions by alias of a registered model, which is made if there is none."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- a second and a half, see `client_of`

    try:
        model = client.get_registered_model(name)
    except MlflowException:
        model = client.create_registered_model(name)
    return dict(model.aliases)


def _decide(client: Any, run: Record, policy: PromotionPolicy, champion: str | None) -> Decision:
    if champion is None:
        return Decision(CHAMPION, "there was no champion")
    if policy.promote != "auto":
        return Decision(CHAMPION if policy.promote == "always" else CHALLENGER, f"promote={policy.promote}")
    if policy.contest is None:
        return Decision(CHALLENGER, "no table at hand to hold it against the champion")
    if run.tags[VERDICT] != "signal":
        return Decision(CHALLENGER, f"its verdict is {run.tags[VERDICT]}")
    try:
        pair, trained_on = _meet(client, run.registered_name, champion, policy.contest)
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with an old champion, the new run must not be lost
        reason = (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
        return Decision(CHALLENGER, f"not held against the champion: {reason}")
    return replace(judge(pair, trained_on, comparisons=1 + _comparisons(client, run)), against=champion)


def _meet(client: Any, name: str, version: str, contest: Contest) -> tuple[PairedLosses, NDArray[np.uint64]]:
    """Load the champion, let it predict, and return the digests of the rows that it was trained on too."""
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 -- as above

    champion = client.get_model_version(name, version)
    with TemporaryDirectory() as folder:
        if ROWS not in {file.path for file in client.list_artifacts(champion.run_id)}:
            raise NoContest.incomplete(f"{ROWS}, by which its training rows are known")
        client.download_artifacts(champion.run_id, ROWS, folder)
        rows = RunFolder(Path(folder)).load("rows")
        model = download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(Path(folder) / "model"))
        mapping = next(Path(model).rglob(MAPPING), None)
        if mapping is None:
            raise NoContest.incomplete(MAPPING)
        pair = contest(load(mapping.parent), rows.attrs["roles"])
    return pair, rows.loc[rows["part"] == "train", "digest"].to_numpy()


def _comparisons(client: Any, run: Record) -> int:
    """Count the versions that met a champion on this split."""
    query = f"name = '{run.registered_name}' and tags.{_COMPARED_ON} = '{run.tags[SPLIT_DIGEST]}'"
    return len(client.search_model_versions(query, max_results=_MOST))
