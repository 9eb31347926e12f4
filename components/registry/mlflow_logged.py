"""Logged models of MLflow, each with its run: made whole, or closed as failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.registry.measured import Measured
from components.registry.mlflow_client import (
    LARGEST_BATCH,
    Run,
    again,
    all_pages,
    data_set,
    milliseconds,
    store_errors,
    tag_filter,
)

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient


class LoggedModel(NamedTuple):
    """A finished logged model and the run it belongs to."""

    id: str
    run: str


def finished_model(
    client: MlflowClient, experiment: str, tags: Mapping[str, str]
) -> LoggedModel | None:
    """Return a finished logged model with `tags`; None where there is none."""
    found = _search(client, experiment, tags)
    ready = [LoggedModel(m.model_id, str(m.source_run_id)) for m in found if m.status == "READY"]
    return ready[0] if ready else None


def close_unfinished(
    client: MlflowClient, experiment: str, tags: Mapping[str, str], runs: Iterable[Run]
) -> None:
    """Close what killed calls left open: `runs`, and as failed the logged models with `tags` that
    are pending. A call that still works closes both once more, with what came of it."""
    found = _search(client, experiment, tags)
    for model in found:
        if model.status == "PENDING":
            client.finalize_logged_model(model.model_id, "FAILED")
    finished = {model.source_run_id for model in found if model.status == "READY"}
    for run in (run for run in runs if run.open):
        client.set_terminated(run.id, "FINISHED" if run.id in finished else "KILLED")


def _search(
    client: MlflowClient, experiment: str, tags: Mapping[str, str]
) -> list[mlflow.entities.LoggedModel]:
    query = " AND ".join(tag_filter(tags))
    return all_pages(lambda page: client.search_logged_models([experiment], query, page_token=page))


def log_model(
    client: MlflowClient,
    experiment: str,
    run: str,
    files: Path,
    measured: Measured,
    *,
    tags: Mapping[str, str],
) -> LoggedModel:
    """Return a new logged model of `files`, with its figures, finished, and close its `run`.

    Where that fails both are closed as failed, unless the store does not answer any more.
    """
    from mlflow.entities import LoggedModelOutput

    made = None
    try:
        made = client.create_logged_model(
            experiment,
            name="adapter",
            source_run_id=run,
            tags=dict(tags),
            params=dict(measured.parameters),
            model_type="peft-adapter",
        ).model_id
        client.log_model_artifacts(made, str(files))
        client.log_outputs(run, [LoggedModelOutput(made, 0)])
        log_measured(client, run, made, measured)
        client.finalize_logged_model(made, "READY")
    except BaseException:
        with suppress(*store_errors()):  # what went wrong first is what is told
            if made:
                client.finalize_logged_model(made, "FAILED")
            client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")
    return LoggedModel(made, run)


def log_measured(client: MlflowClient, run: str, model: str | None, measured: Measured) -> None:
    """Write into a run what is measured; the key figures are about the logged model, if any."""
    from mlflow.entities import DatasetInput, InputTag, Metric, Param

    inputs = [
        DatasetInput(data_set(used), [InputTag("mlflow.data.context", used.context)])
        for used in measured.data
    ]
    again(lambda: client.log_inputs(run, datasets=inputs))
    about = (model, inputs[-1].dataset.name, inputs[-1].dataset.digest) if inputs else ()
    now = milliseconds(None)
    metrics = [Metric(key, value, now, 0, *about) for key, value in measured.figures.items()]
    metrics += [Metric(name, value, now, step) for name, step, value in measured.curves]
    client.log_batch(run, params=[Param(*one) for one in measured.parameters.items()])
    log_metrics(client, run, metrics)
    if measured.table:
        client.log_table(run, measured.table, "evaluation.json")


def log_metrics(client: MlflowClient, run: str, metrics: Sequence[mlflow.entities.Metric]) -> None:
    """Write metrics into a run, as many at once as MLflow takes."""
    for start in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run, metrics[start : start + LARGEST_BATCH])
