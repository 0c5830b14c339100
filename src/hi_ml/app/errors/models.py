"""Refusals of what cannot be trained, and of models that cannot be loaded, served or validated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from hi_ml.app.called import to_train
from hi_ml.app.errors.wording import DIGITS, LONGEST_REASON, HiMlError, hint, one_line, setting, short, some

Missing = Literal["COLUMN_MISSING", "NO_MAPPING", "NO_PATIENT_ID", "TOO_FEW", "CONSTANT"]


@dataclass(unsafe_hash=True)
class Untestable(Exception):
    """A table cannot answer a part of a claim; the claim's other parts go on."""

    reason: Missing
    words: str  # what is missing, as a clause
    key: str | None = None  # the YAML key that would supply it
    part: str = ""  # of the claim; empty until the draft knows which it was


class Unserved(HiMlError):
    """Parts of a request were served and kept, others could not be."""

    @classmethod
    def of(cls, errors: Sequence[HiMlError]) -> "HiMlError":
        if len(errors) == 1:
            return errors[0]
        return cls("\n".join(f"{type(error).__name__}: {error}" for error in errors))


class NotTrainable(HiMlError):
    """A task cannot be trained on the table."""

    @classmethod
    def no_role(cls, task: str, role: str, dataset: str) -> Self:
        return cls(
            f"{task} is not trainable: the table declares no '{role}'. "
            f"Say which column it is, in dataset/{dataset}.yaml or here: '++dataset.columns.{role}.from=\"<column>\"'"
        )

    @classmethod
    def not_of_rows(cls, task: str, target: str, owner: str) -> Self:
        return cls(
            f"{task} predicts '{target}', which belongs to the {owner}, not to an admission: every row of one {owner} "
            f"has the same. State a claim about it instead, by {owner}, as conf/finding/patient_survey.yaml does."
        )

    @classmethod
    def target(cls, task: str, target: str, found: str) -> Self:
        return cls(f"{task} is not trainable: expected at least two different values of '{target}', found {found}.")

    @classmethod
    def many_labels(cls, task: str, target: str, labels: int, rows: int) -> Self:
        return cls(
            f"{task} is not trainable: '{target}' has {labels:,} labels in {rows:,} rows, so it tells rows, not "
            f"classes. Set tasks.{task}.positive=[<words>] to predict some of them against the rest, or another "
            f"tasks.{task}.target."
        )

    @classmethod
    def no_level(cls, task: str, lacking: Sequence[str], levels: Sequence[str]) -> Self:
        return cls(
            f"{task} is not trainable: tasks.{task}.positive names {some(map(repr, lacking))}, which no row has. "
            f"The commonest of {len(levels)} levels are {some(map(repr, levels), most=8)}."
        )

    @classmethod
    def implausible(cls, task: str, score: str, *, limit: float, nearest: str) -> Self:
        return cls(
            f"{task} was not kept: {score}, above implausible_above, which is {limit:g}. What gives it most is "
            f"'{nearest}': is it known at that moment, or another word for the target? Set "
            f"dataset.columns.{nearest}.known=after, or raise tasks.{task}.implausible_above."
        )

    @classmethod
    def too_few_groups(cls, task: str, groups: int, needed: int, rows: int) -> Self:
        return cls(
            f"{task} is not trainable: expected at least {needed} groups of rows (near-duplicates and one patient's "
            f"admissions form one group), found {groups} in {rows} usable rows. Add admissions."
        )

    @classmethod
    def few_days(cls, days: int, needed: int) -> Self:
        return cls(
            f"A board is replayed over {needed} days of admissions at least, of which the first three quarters train a "
            f"model; found {days}. Add earlier admissions, with their discharges."
        )

    @classmethod
    def no_features(cls, task: str, refused: dict[str, str]) -> Self:
        why = "; ".join(f"{role}: {reason}" for role, reason in refused.items())
        return cls(
            f"{task} is not trainable: no column is left to predict from ({why}). Name in the dataset's YAML, under "
            "known: and the moment, those that are known earlier."
        )

    @classmethod
    def reproduced(cls, task: str, horizon: str, roles: Sequence[str], *, share: str, limit: float) -> Self:
        names = " and ".join(f"'{role}'" for role in roles)
        keys = " or ".join(f"dataset.columns.{role}.known=after" for role in roles)
        later = "it is known" if len(roles) == 1 else "the later one is known"
        what = "is the target under another name" if len(roles) == 1 else "together are the target under another name"
        return cls(
            f"{task} is not trainable: {names} {what}, removing {share} % of the baseline's error on other rows. "
            f"No column known at {horizon} should do that. Say when {later} ({keys}), or leave it out of "
            f"tasks.{task}.features. If it is known so early, raise probes.largest_skill, which is {limit:g}."
        )

    @classmethod
    def empty_part(cls, task: str, part: str, rule: str) -> Self:
        return cls(
            f"{task} is not trainable: split={rule} leaves fewer than two groups of rows in the {part} part. "
            f"Try another split or seed, or add admissions."
        )


class GroupsTorn(HiMlError):
    """Rows that belong together were parted, or a row's own target reached its features: a fault of hi_ml."""

    @classmethod
    def of(cls, task: str, faults: Sequence[str]) -> Self:
        return cls(
            f"hi_ml stopped before it trained {task}, since its scores would have been too good: {'; '.join(faults)}. "
            f"Expected none. This is a fault of hi_ml, not of the table: please report it."
        )


class ModelUnservable(HiMlError):
    """A fitted model could be written, but not be loaded again and score."""

    @classmethod
    def of(cls, task: str, reason: str) -> Self:
        return cls(
            f"The model of {task} cannot be kept: {reason} Expected a learner of scikit-learn or LightGBM in "
            f"model.regression and model.classification (conf/model/*.yaml), whose parts hi_ml.scorer.serving may load."
        )


class ModelUnknown(HiMlError):
    """No model can be found under what was asked for."""

    @classmethod
    def unreadable(cls, uri: str, known: Sequence[str]) -> Self:
        return cls(
            f"{uri} is no address of a model. Expected models:/<name>@<alias>, models:/<name>/<version>, "
            f"models:/<model_id>, runs:/<run_id>/model, or a folder. Registered are: {some(known, most=20) or 'none'}."
        )

    @classmethod
    def no_folder(cls, folder: Path) -> Self:
        return cls(
            f"There is no {folder} (looked in {Path.cwd()}). Expected the folder of a model or of a trained task, for "
            f"example outputs/train/<timestamp>/length_of_stay."
        )

    @classmethod
    def no_store(cls, uri: str, store: str) -> Self:
        return cls(
            f"{uri} cannot be found: there is no store of models at {store}. Train one here "
            f"({to_train(uri)}), run in the folder where it was trained, set MLFLOW_TRACKING_URI, or "
            "name the model's folder."
        )

    @classmethod
    def no_answer(cls, uri: str, store: str, reason: str) -> Self:
        why = one_line(reason)[:LONGEST_REASON] or "it gave no reason"
        return cls(f"MLflow at {store} does not give {uri}: {why}. Check MLFLOW_TRACKING_URI, or name a folder.")

    @classmethod
    def no_name(cls, name: str, store: str, known: Sequence[str]) -> Self:
        return cls(
            f"{store} has no registered model '{name}'{hint(name, known)}. "
            f"It has: {some(known, most=20) or 'none'}. Train it ({to_train(name)}), or choose one of "
            f"these."
        )

    @classmethod
    def no_version(cls, uri: str, aliases: Mapping[str, object], versions: Sequence[int]) -> Self:
        named = [f"@{alias} (version {version})" for alias, version in aliases.items()]
        return cls(
            f"There is no {uri}. The model has the aliases {some(named) or 'none'} and the versions "
            f"{some(map(str, versions), most=20) or 'none'}. Choose one of these."
        )

    @classmethod
    def no_entry(cls, uri: str, store: str) -> Self:
        return cls(f"{store} has nothing under {uri}. Look it up in MLflow, or name a registered model or a folder.")

    @classmethod
    def gone(cls, uri: str, folder: Path) -> Self:
        return cls(f"{uri} is known, but its files are not at {folder}. Bring them back, or train the model again.")


class ModelRefused(HiMlError):
    """A model that hi_ml did not write, or that was changed since: it is not loaded."""

    @classmethod
    def foreign(cls, uri: str, found: Sequence[str]) -> Self:
        return cls(
            f"{uri} is no model of hi_ml: expected artifacts/scorer with mapping.json and pipeline.skops, found "
            f"{some(found, most=8) or 'nothing'}. Other models may run code as they are loaded, so nothing was. "
            f"Name a model that {to_train()} made."
        )

    @classmethod
    def changed(cls, uri: str, *, expected: str, found: str) -> Self:
        signed = f"SHA-256 {expected[:DIGITS]}..." if expected else "a digest in its MLmodel"
        return cls(
            f"{uri} was changed since it was saved: expected {signed}, found {found[:DIGITS]}.... It was not loaded. "
            f"Fetch it again from where it was trained, or train it again."
        )

    @classmethod
    def unsafe(cls, uri: str, reason: str) -> Self:
        return cls(f"{uri} was not loaded: {reason} Train the model again ({to_train(uri)}).")

    @classmethod
    def no_reasons(cls, learner: str) -> Self:
        return cls(
            f"There are no reasons for predictions of a {learner}: expected LightGBM, trees of scikit-learn, or a "
            f"linear model, whose contributions can be computed exactly. Set reasons=0, or choose another model."
        )


class NotValidatable(HiMlError):
    """A frozen model cannot be asked of this table what it was asked at home."""

    @classmethod
    def no_model(cls) -> Self:
        return cls(
            "validate needs model_uri=<models:/<name>/<version>, runs:/<id>/model, or a run folder>, the frozen model, "
            "and dataset=<the other table>; no model was named."
        )

    @classmethod
    def no_outcome(cls, dataset: str, target: str) -> Self:
        return cls(
            f"dataset={dataset} has no row whose '{target}' is known, and a model is held against what happened. Wait "
            f"for it, or name the column that holds it: ++dataset.columns.{target}.from=<column>"
        )

    @classmethod
    def no_home(cls, uri: str) -> Self:
        return cls(
            f"{uri} does not carry what it reached on its own test part (home.json): an older version of hi_ml made "
            f"it, and there is nothing to hold another table against. Train it again: {to_train(uri)}"
        )

    @classmethod
    def lacks(cls, dataset: str, roles: Sequence[str], known: Sequence[str]) -> Self:
        keys = " ".join(f"++dataset.columns.{role}.from=<column>" for role in roles)
        return cls(
            f"dataset={dataset} has no column for {some(map(repr, roles), most=40)}, which the model needs; a frozen "
            f"model has nothing to put there. It has: {some(known, most=40)}. Name the columns of the file: {keys}"
        )

    @classmethod
    def late(cls, dataset: str, late: Mapping[str, str], horizon: str) -> Self:
        listed = some((f"{role} at {known}" for role, known in late.items()), most=40)
        key = next(iter(late))
        return cls(
            f"The model predicts at {horizon} from columns that dataset={dataset} knows later: {listed}. Used all the "
            f"same, they would flatter it. If they are known by then, say so: "
            f"{setting(f'dataset.columns.{key}.known', horizon)}"
        )

    @classmethod
    def kind(cls, dataset: str, role: str, found: str, needed: str) -> Self:
        return cls(
            f"'{role}' is a {found} in dataset={dataset}, and the model was taught a {needed}. Describe it as one: "
            f"{setting(f'dataset.columns.{role}.kind', needed)}, with bands, levels or format if its cells need them."
        )

    @classmethod
    def stay(cls, dataset: str, found: str, needed: str) -> Self:
        return cls(
            f"dataset={dataset} counts a stay as {found}, the model as {needed}: every stay would differ by a day. If "
            f"the table counts as the model does, say so: {setting('dataset.stay', needed)}. Else give the two dates, "
            f"from which either is computed, instead of the stay."
        )

    @classmethod
    def unit(cls, role: str, found: float, needed: float) -> Self:
        return cls(
            f"The median of '{role}' is {found:.4g} here and {needed:.4g} where the model was trained, which is "
            f"{found / needed:.3g} times as much: the units seem to differ. Set by which number it is multiplied "
            f"here, 1 if the units agree and the difference is real: ++factors.{role}=<number>"
        )

    @classmethod
    def labels(cls, dataset: str, target: str, strange: Sequence[str], known: Sequence[str]) -> Self:
        return cls(
            f"'{target}' of dataset={dataset} has labels that the model cannot predict: {some(map(repr, strange))}; "
            f"it knows {some(map(repr, known), most=20)}. Give them its names, or null to leave them out: "
            f"'++dataset.columns.{target}.levels={{<label here>: <label there>}}'"
        )


class NotAsClaimed(HiMlError):
    """A scored file is not what its manifest says, or cannot be shown to be."""

    @classmethod
    def no_manifest(cls, path: Path, reason: str) -> Self:
        return cls(
            f"{path} is no manifest of predict: {reason}. Expected <output>.manifest.json, as predict writes it."
        )

    @classmethod
    def of(cls, output: Path, faults: Sequence[str]) -> Self:
        return cls(f"{output} is not shown to be what its manifest claims: {'; '.join(faults)}. Score the input again.")


class NotResumable(HiMlError):
    """A search cannot be continued."""

    @classmethod
    def absent(cls, path: Path) -> Self:
        return cls(
            f"There is no search to resume: no file at {path}. Expected resume=<folder of a search>, for example "
            f"resume=outputs/tune/<timestamp>."
        )

    @classmethod
    def damaged(cls, path: Path, reason: object) -> Self:
        why = one_line(reason)[:LONGEST_REASON]
        return cls(f"{path} is no study that hi_ml wrote: {why}. Start a new search, without resume=.")

    @classmethod
    def another(cls, folder: Path, differing: Mapping[str, tuple[object, object]]) -> Self:
        listed = some(f"{key} was {short(then)} and is {short(now)}" for key, (then, now) in differing.items())
        return cls(
            f"The search in {folder} is another one: {listed}. Ask for the same as then, or start a new search, "
            f"without resume=."
        )
