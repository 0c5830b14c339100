"""Which alarms of a service last? In MLflow a run each: RUNNING as long as it lasts, FINISHED when it is over."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hi_ml.tracking.store import PATIENCE, artifact_root, client_of, exclusive, is_absent, store_uri

_ALARM, _SITE = "hi_ml.alarm", "hi_ml.site"  # tags: its name, and which service raised it
_LASTING = "RUNNING"


def announce(
    dataset: str, site: str, alarms: Sequence[Mapping[str, str]], *, model: str, seconds: float | None = PATIENCE
) -> None:
    """Bring the experiment ``<dataset>/alarms`` up to date, however often it is asked to.

    Parameters
    ----------
    site : str
        Tells the services of one store apart.
    alarms : sequence of mapping
        ``name``, ``since`` (a day) and ``sentence`` of each that lasts.
    model : str
        Which version predicts.

    Raises
    ------
    Exception
        Whatever a server, a driver or a network raises.
    """
    uri = store_uri()
    if not alarms and is_absent(uri):
        return
    with exclusive(uri), client_of(uri, seconds) as client:
        experiment = _experiment(client, f"{dataset}/alarms", uri)
        lasting = client.search_runs([experiment], f"attributes.status = '{_LASTING}' and tags.`{_SITE}` = '{site}'")
        known = {run.data.tags.get(_ALARM): run.info.run_id for run in lasting}
        for alarm in alarms:
            run_id = known.pop(alarm["name"], None) or _begin(client, experiment, site, alarm, model)
            client.set_tag(run_id, "mlflow.note.content", alarm["sentence"])
        for run_id in known.values():
            client.set_terminated(run_id, "FINISHED")


def _begin(client: Any, experiment: str, site: str, alarm: Mapping[str, str], model: str) -> str:
    start = int(datetime.fromisoformat(alarm["since"]).timestamp() * 1000)
    tags = {_ALARM: alarm["name"], _SITE: site, "hi_ml.model": model}
    run = client.create_run(experiment, start, tags, run_name=f"{alarm['name']} since {alarm['since']}")
    return str(run.info.run_id)


def _experiment(client: Any, name: str, uri: str) -> str:
    known = client.get_experiment_by_name(name)
    return str(known.experiment_id if known else client.create_experiment(name, artifact_root(uri, name)))
