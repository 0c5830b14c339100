"""Runs inside of a run: the trials of a search, in MLflow."""

from collections.abc import Iterable
from typing import Any

from hi_ml.records import Child

PARENT = "mlflow.parentRunId"  # the tag by which MLflow nests a run


def send_children(client: Any, experiment: str, parent: str, children: Iterable[Child]) -> None:
    """Track runs inside of another, each with one call for all that it logs.

    Parameters
    ----------
    client : MlflowClient
    experiment, parent : str
        Numbers of the experiment and of the run around them.
    children : iterable of Child
    """
    from mlflow.entities import Metric, Param  # noqa: PLC0415 -- a second and a half that tracking=none does not pay

    for child in children:
        began, ended = int(child.started * 1000), int(child.finished * 1000)
        made = client.create_run(experiment, began, {PARENT: parent, **child.tags}, run_name=child.name)
        params = [Param(name, value) for name, value in child.params.items()]
        metrics = [
            Metric(name, float(value), ended, step)
            for name, values in child.metrics.items()
            for step, value in enumerate(values)
        ]
        try:
            client.log_batch(made.info.run_id, metrics=metrics, params=params)
            client.set_terminated(made.info.run_id, child.status, ended)
        except BaseException:
            client.set_terminated(made.info.run_id, "FAILED")
            raise
