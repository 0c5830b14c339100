"""What MLflow is told of a run, taken from its folder alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hi_ml.app.config import leaves
from hi_ml.tracking.folder import RunFolder

Found = Mapping[str, Any]
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}  # of a trial, in MLflow's words


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
    model: Path | None  # folder of an MLflow model, to be registered
    registered: str  # the name to register it under
    verdict: str
    sentence: str
    children: tuple[Child, ...] = ()  # runs inside of this one


def record(folder: RunFolder) -> Record:
    """Read a run folder.

    Raises
    ------
    RunFolderInvalid
        If a file of a finished run is absent.
    """
    found = folder.read()
    if "search" in found:
        return _of_search(found)
    return _of_findings(found) if "findings" in found else _of_model(found, folder.model)


def _of_model(found: Found, model: Path) -> Record:
    run, verdict = found["run"], found["verdict"]
    tags = {"verdict": verdict["verdict"], **{key: str(run[key]) for key in ("model", "task", "split_sha256")}}
    note = f"{verdict['sentence']}\n\n{found['leakage']['sentence']}"
    return _record(
        found,
        experiment=f"{run['dataset']}/{run['task']}",
        run_name=run["model"],
        tags=tags,
        note=note,
        params=_model_params(found),
        metrics=_model_metrics(found),
        model=model,
        registered=f"{run['dataset']}.{run['task']}",
        verdict=verdict["verdict"],
        sentence=verdict["sentence"],
    )


def _of_search(found: Found) -> Record:
    run, told, gain = found["run"], found["search"], found["search"]["gain"]
    metrics = {f"cv_{gain['score']}": told["best"]["loss"], f"default_cv_{gain['score']}": told["defaults"]["loss"]}
    metrics |= {"gain": gain["gain"], "gain_low": gain["low95"], "gain_high": gain["high95"], "gain_p": gain["p"]}
    metrics |= {f"trials_{state}": count for state, count in told["trials"].items()}
    params = {"model": run["model"], "split": found["config"]["split"]["name"], "rows": run["rows"]}
    params |= {key: run[key] for key in ("seed", "horizon", "features")} | {"folds": told["folds"]}
    params |= leaves(found["config"]["model"]["space"], prefix="space.")
    params |= leaves(told[told["chosen"]]["settings"], prefix="chosen.")
    return _record(
        found,
        experiment=f"{run['dataset']}/{run['task']}",
        run_name=f"tune {run['model']}",
        tags={"verdict": gain["verdict"], "model": run["model"], "task": run["task"]},
        note=gain["sentence"],
        params=params,
        metrics=metrics,
        model=None,
        registered="",
        verdict=gain["verdict"],
        sentence=gain["sentence"],
        children=tuple(_child(trial, found) for trial in found["trials"].to_dict("records")),
    )


def _child(trial: Mapping[str, Any], found: Found) -> Child:
    score, run = found["search"]["gain"]["score"], found["run"]
    folds = [trial[f"fold_{place + 1}"] for place in range(found["search"]["folds"])]
    metrics = {f"fold_{score}": [loss for loss in folds if loss == loss], "seconds": [trial["seconds"]]}  # noqa: PLR0124 -- a fold that was not reached is NaN
    metrics |= {f"cv_{score}": [trial["value"]]} if trial["state"] == "complete" else {}
    tags = {"state": trial["state"], "model": run["model"], "task": run["task"], "dataset": run["dataset"]}
    tags |= {"error": str(trial["error"])} if trial["state"] == "failed" else {}
    return Child(
        name=f"trial {trial['number']}",
        status=_STATUS[trial["state"]],
        tags=tags,
        params={name: str(trial[name]) for name in found["search"]["defaults"]["settings"]},
        metrics=metrics,
        started=trial["started"],
        finished=trial["started"] + trial["seconds"],
    )


def _of_findings(found: Found) -> Record:
    findings = found["findings"]
    metrics: dict[str, float] = {}
    for finding in findings:
        name = finding["finding"]
        metrics |= {f"{name}.p_support": finding["p_support"], f"{name}.p_absence": finding["p_absence"]}
        for part in finding["evidence"]:
            if part["role"] == "primary":
                bounds = {"": part["estimate"], "_low": part["low"], "_high": part["high"]}
                metrics |= {f"{name}.{part['part']}{end}": at for end, at in bounds.items() if at is not None}
    said = {finding["finding"]: finding["verdict"] for finding in findings}
    return _record(
        found,
        experiment=f"{found['run']['dataset']}/findings",
        run_name="findings",
        tags={f"verdict.{name}": verdict for name, verdict in said.items()},
        note="\n\n".join(f"**{finding['claim']}** {finding['sentences'][0]}" for finding in findings),
        params={key: found["run"][key] for key in ("seed", "rows", "keep_duplicates")}
        | leaves(found["config"]["findings"], prefix="findings."),
        metrics=metrics,
        model=None,
        registered="",
        verdict="",
        sentence="",
    )


def _record(found: Found, *, tags: Mapping[str, str], note: str, params: Mapping[str, Any], **rest: Any) -> Record:
    run, digest = found["run"], found["data"]["sha256"]
    asked = " ".join(found["overrides"]) or "(all defaults)"
    shared = {
        "dataset": run["dataset"],
        "data_sha256": digest,
        "git_commit": run["git_commit"],
        "mlflow.note.content": f"{note}\n\nAsked for: `{asked}`",
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
        **rest,
    )


def _model_metrics(found: Found) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for row in found["scores"].to_dict("records"):
        name = f"{row['part']}_{row['score']}"
        metrics |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        metrics[f"baseline_{row['score']}"] = row["baseline"]
    verdict = found["verdict"]
    metrics |= {"skill": verdict["skill"], "skill_low": verdict["low95"], "skill_high": verdict["high95"]}
    if "significance" in found:
        metrics["permutation_p"] = found["significance"]["p"]
    return metrics | {"leakage_gap": found["leakage"]["gap"], "fit_seconds": found["timings"]["fit"]}


def _model_params(found: Found) -> dict[str, Any]:
    """The settings that matter, in the words of the configuration: the learner of this kind of task, not the other."""
    config, run = found["config"], found["run"]
    model = dict(config["model"])
    other = "classification" if run["kind"] == "regression" else "regression"
    for unused in (other, "space", "name"):
        model.pop(unused, None)
    split = {key: value for key, value in config["split"].items() if key != "name"}
    params = {"model": run["model"], "split": config["split"]["name"], "rows": run["rows"]}
    params |= {key: run[key] for key in ("seed", "horizon", "features")}
    return params | leaves(model, prefix="model.") | leaves(split, prefix="split.")
