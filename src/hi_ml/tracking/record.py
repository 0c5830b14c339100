"""What MLflow is told of a run, taken from its folder alone: the names of experiments, tags, parameters and metrics."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hi_ml.app.config import leaves
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.evaluation.assessment import ALWAYS, catalogue
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import leaving

DATA_DIGEST, SPLIT_DIGEST, VERDICT = "data_sha256", "split_sha256", "verdict"  # tags; a run with a model has the second
_SAID_ELSEWHERE = (  # how what is asked begins that a run's name need not say
    "dataset", "model=", "model.space", "task=", "split=", "tracking", "hydra", "charts", "promote", "trials", "folds",
    "resume", "+",
)  # fmt: skip
_LONGEST_NAME = 120  # letters of a run's name
_OF_MODEL = ("test_", "skill")  # how metrics begin that are the model's own
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}  # of a trial, in MLflow's words
Files = Mapping[str, Any]  # what the files of a run folder hold, by stem


@dataclass(frozen=True)
class Child:
    """One trial of a search, in MLflow's terms."""

    name: str
    status: str  # of the run: ``FINISHED`` or ``FAILED``
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, list[float]]  # by step
    started: float  # seconds since 1970
    finished: float  # seconds since 1970


@dataclass(frozen=True)
class Record:
    """One run, in MLflow's terms."""

    experiment: str
    run_name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    started: float  # seconds since 1970
    finished: float  # seconds since 1970
    dataset: str
    digest: str
    source: str
    rows: int
    joined: Mapping[str, tuple[str, str, int]] = field(default_factory=dict)  # by name: source, digest, rows known
    children: tuple[Child, ...] = ()  # runs inside of this one
    model: Path | None = None  # folder of an MLflow model, to be registered
    card: str = ""  # of the model, for the registry
    files: tuple[Path, ...] = ()  # of the folder, that may leave
    columns: tuple[str, ...] = ()  # of MLflow's table of runs, the first ones to see

    @property
    def registered_name(self) -> str:
        """The name to register its model under."""
        return self.experiment.replace("/", ".")

    @property
    def model_metrics(self) -> dict[str, float]:
        """The metrics that are the model's own too."""
        return {name: value for name, value in self.metrics.items() if name.startswith(_OF_MODEL)}


def record(folder: RunFolder, *, share_rows: bool = False) -> Record:
    """Read what of a run folder may leave.

    Raises
    ------
    RunFolderInvalid
        If a file of a finished run is absent, or says less than it should.
    """
    try:
        leave = leaving(folder, share_rows=share_rows)
        return replace(_of_any(folder, leave), files=tuple(leave))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of files that someone changed
        raise RunFolderInvalid.of(folder.path, f"whole account of itself ({type(error).__name__}: {error})") from error


def _of_any(folder: RunFolder, leave: list[Path]) -> Record:
    home = {path.stem for path in {*folder.files()}.difference(leave)} - {*ALWAYS}
    files = {name: content for name, content in folder.read().items() if name not in home & catalogue().keys()}
    if "search" in files:
        return _of_search(files)
    if "validation" in files:
        return _of_validation(files)
    return _of_findings(files) if "findings" in files else _of_model(files, folder.model)


def _record(files: Files, *, tags: Mapping[str, str], note: str, params: Mapping[str, Any], **rest: Any) -> Record:
    run, digest = files["run"], files["data"]["sha256"]
    overrides = " ".join(files["overrides"]) or "(all defaults)"
    shared = {
        "dataset": run["dataset"],
        DATA_DIGEST: digest,
        "git_commit": run["git_commit"],
        "mlflow.note.content": f"{note}\n\nAsked for: `{overrides}`",
        "mlflow.source.name": run["command"],
        "mlflow.source.type": "LOCAL",
    }
    return Record(
        tags={**tags, **shared},
        params={name: str(value) for name, value in params.items()},
        started=run["started"],
        finished=run["finished"],
        dataset=run["dataset"],
        digest=digest,
        source=run["source"],
        rows=run["rows"],
        joined={
            name: (file["file"], file["sha256"], join["rows_matched"])
            for name, join in files["data"].get("joins", {}).items()
            for file in join["files"][:1]
        },
        **rest,
    )


def _of_model(files: Files, model: Path) -> Record:
    run, verdict = files["run"], files["verdict"]
    return _record(
        files,
        experiment=f"{run['dataset']}/{run['task']}",
        run_name=_name(files),
        tags={
            VERDICT: verdict["verdict"],
            **({f"{VERDICT}_reason": verdict["reason"]} if verdict.get("reason") else {}),  # an older one has none
            **{key: str(run[key]) for key in ("model", "task", SPLIT_DIGEST)},
        },
        note=f"{verdict['sentence']}\n\n{files['leakage']['sentence']}",
        params=_model_params(files),
        metrics=_model_metrics(files),
        model=model,
        card=_card(files),
        columns=_columns(verdict["score"]),
    )


def _name(files: Files) -> str:
    """Name a run by what tells it from others: model, split, what was asked for besides, and when."""
    run = files["run"]
    asked = [word for word in files["overrides"] if not word.startswith(_SAID_ELSEWHERE)]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["started"]))
    return ", ".join([run["model"], run["split"], *asked, when])[:_LONGEST_NAME]


def _model_metrics(files: Files) -> dict[str, float]:
    assessments = catalogue()
    metrics = {"fit_seconds": files["timings"]["fit"]}
    for name, content in files.items():
        metrics |= assessments[name].metrics(content) if name in assessments else {}
    return metrics


def _card(files: Files) -> str:
    """Describe a model for the registry, in Markdown."""
    run, verdict, data = files["run"], files["verdict"], files["data"]
    lines = {
        "Verdict": verdict["sentence"],
        "For": f"{run['task'].replace('_', ' ')} at {run['horizon']}, in {run['unit']}.",
        "Learned from": f"{run['dataset']} (SHA-256 {data['sha256'][:12]}), {run['parts']['train']:,} rows, split "
        f"{run['split']}; columns {', '.join(data['used'])}.",
        "Leak of a random split": files["leakage"]["sentence"],
        "For whom": run.get("sentences", {}).get("subgroups") or "groups were not compared.",
        "Limits": "of this table and split; not validated elsewhere; not a medical device.",
        "More": "`report.html` and `tripod_ai.json` of its run.",
    }
    return "\n\n".join(f"**{name}**: {words}" for name, words in lines.items())


def _columns(score: str) -> tuple[str, ...]:
    """Name what the table of runs shows: the primary score with its interval, that of knowing nothing, the verdict."""
    names = (f"test_{score}", f"test_{score}_low", f"test_{score}_high", f"baseline_{score}")
    return (*(f"metrics.`{name}`" for name in names), f"tags.`{VERDICT}`")


def _model_params(files: Files) -> dict[str, Any]:
    """The settings that matter, in the words of the configuration: the learner of this kind of task, not the other."""
    config, other = files["config"], {"regression": "classification"}.get(files["run"]["kind"], "regression")
    model = {key: value for key, value in config["model"].items() if key not in (other, "space", "name")}
    split = {key: value for key, value in config["split"].items() if key != "name"}
    return _shared_params(files) | leaves(model, prefix="model.") | leaves(split, prefix="split.")


def _shared_params(files: Files) -> dict[str, Any]:
    run = files["run"]
    names = {"model": run["model"], "split": files["config"]["split"]["name"]}
    return names | {key: run[key] for key in ("rows", "seed", "horizon", "features", "scale") if key in run}


def _of_search(files: Files) -> Record:
    run, search, gain = files["run"], files["search"], files["search"]["gain"]
    metrics = {f"cv_{gain['score']}": search["best"]["loss"], f"default_cv_{gain['score']}": search["defaults"]["loss"]}
    metrics |= {"gain": gain["gain"], "gain_low": gain["low95"], "gain_high": gain["high95"], "gain_p": gain["p"]}
    metrics |= {f"trials_{state}": count for state, count in search["trials"].items()}
    params = _shared_params(files) | {"folds": search["folds"]}
    params |= leaves(files["config"]["model"]["space"], prefix="space.")
    params |= leaves(search[search["chosen"]]["settings"], prefix="chosen.")
    return _record(
        files,
        experiment=f"{run['dataset']}/{run['task']}",
        run_name=f"tune {run['model']}",
        tags={VERDICT: gain["verdict"], "model": run["model"], "task": run["task"]},
        note=gain["sentence"],
        params=params,
        metrics=metrics,
        children=tuple(_trial(row, files) for row in files["trials"].to_dict("records")),
    )


def _trial(row: Mapping[str, Any], files: Files) -> Child:
    score, run = files["search"]["gain"]["score"], files["run"]
    folds = [row[f"fold_{number + 1}"] for number in range(files["search"]["folds"])]
    metrics = {f"fold_{score}": [loss for loss in folds if loss == loss], "seconds": [row["seconds"]]}  # noqa: PLR0124 -- a fold that was not reached is NaN
    metrics |= {f"cv_{score}": [row["value"]]} if row["state"] == "complete" else {}
    tags = {"state": row["state"], "model": run["model"], "task": run["task"], "dataset": run["dataset"]}
    tags |= {"error": str(row["error"])} if row["state"] == "failed" else {}
    return Child(
        name=f"trial {row['number']}",
        status=_STATUS[row["state"]],
        tags=tags,
        params={name: str(row[name]) for name in files["search"]["defaults"]["settings"]},
        metrics=metrics,
        started=row["started"],
        finished=row["started"] + row["seconds"],
    )


def _of_findings(files: Files) -> Record:
    run, findings = files["run"], files["findings"]
    metrics: dict[str, float] = {}
    for finding in findings:
        name = finding["finding"]
        metrics |= {f"{name}.p_support": finding["p_support"], f"{name}.p_absence": finding["p_absence"]}
        for part in finding["evidence"]:
            if part["role"] == "primary":
                bounds = {"": part["estimate"], "_low": part["low"], "_high": part["high"]}
                metrics |= {f"{name}.{part['part']}{end}": at for end, at in bounds.items() if at is not None}
    settings = {key: run[key] for key in ("seed", "rows", "keep_duplicates")}
    return _record(
        files,
        experiment=f"{run['dataset']}/findings",
        run_name="findings",
        tags={f"{VERDICT}.{finding['finding']}": finding["verdict"] for finding in findings},
        note="\n\n".join(f"**{finding['claim']}** {finding['sentences'][0]}" for finding in findings),
        params=settings | leaves(files["config"]["findings"], prefix="findings."),
        metrics=metrics,
    )


def _of_validation(files: Files) -> Record:
    run, validation, table = files["run"], files["validation"], files["transport"]
    metrics = {f"test_{row['score']}": row["value"] for row in files["scores"].to_dict("records")}
    for row in table[table["measure"] == "skill"].dropna(subset="value").to_dict("records"):
        name = f"skill_{row['stage'].replace(' ', '_')}"
        metrics |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
    tags = {VERDICT: validation["verdict"], "model": run["model"], "task": run["task"]}
    return _record(
        files,
        experiment=f"{run['dataset']}/validation",
        run_name=f"{run['model']} of {run['task']}",
        tags=tags | {name: validation[name] for name in ("model_uri", "model_sha256")},
        note=validation["sentence"],
        params={"rows": run["rows"]} | leaves(files["config"]["margins"], prefix="margins."),
        metrics=metrics,
    )
