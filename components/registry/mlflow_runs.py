"""The runs of MLflow's experiments, with what is written into them, and their logged models: each
made whole, or closed as failed."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.core.paths import Workspace
from components.registry.measured import Measured
from components.registry.mlflow_client import (
    LARGEST_BATCH,
    NOTE,
    TRAINING,
    Run,
    address_of,
    again,
    all_pages,
    client_of,
    data_set,
    milliseconds,
    set_up,
    store_errors,
    tag_filter,
    unless_there,
    with_clear_errors,
)

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient


class LoggedModel(NamedTuple):
    """A finished logged model and the run it belongs to."""

    id: str
    run: str


@with_clear_errors
class Runs:
    """The runs and logged models of one server or embedded store."""

    def __init__(self, root: Path) -> None:
        """Choose the server of `MLFLOW_TRACKING_URI`, else the embedded store below `root`."""
        set_up()
        self.root = root
        self._store = Workspace(root, "").tracking_store
        self._server = os.environ.get("MLFLOW_TRACKING_URI")

    @functools.cached_property
    def _address(self) -> str:
        return address_of(self._server, self._store)

    @property
    def _client(self) -> MlflowClient:
        return client_of(self._address)

    def experiment(self, name: str) -> str:
        """Return the id of the experiment `name`, which is created where it is missing."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None if self._server else (self._store / "artifacts").as_uri()
        create = functools.partial(self._client.create_experiment, name, location, TRAINING)
        unless_there(create)
        return self.experiment(name)

    # --- reading -----------------------------------------------------------------------------

    def runs(self, experiment: str | None, tags: Mapping[str, str]) -> list[Run]:
        """Return the runs of an experiment, None of all, that carry `tags`, the newest first."""
        query = " AND ".join(tag_filter(tags))
        places = [experiment] if experiment else self._experiments()
        search = functools.partial(self._client.search_runs, places, query)
        found = all_pages(lambda page: search(page_token=page))
        states = ((r.info, dict(r.data.tags)) for r in found)
        return [
            Run(info.run_id, tags, info.status == "RUNNING", info.status == "FINISHED")
            for info, tags in states
        ]

    def _experiments(self) -> list[str]:
        every = all_pages(lambda page: self._client.search_experiments(page_token=page))
        return [one.experiment_id for one in every]

    def claims(self, run: str, prefix: str) -> dict[str, str]:
        """Return the parameters of a run whose keys start with `prefix`."""
        found = self._client.get_run(run).data.params
        return {key: value for key, value in found.items() if key.startswith(prefix)}

    def first_points(self, run: str) -> dict[str, float]:
        """Return the first value of every metric of a run."""
        return {
            key: min(self._client.get_metric_history(run, key), key=lambda one: one.step).value
            for key in self._client.get_run(run).data.metrics
        }

    def finished_model(self, experiment: str, tags: Mapping[str, str]) -> LoggedModel | None:
        """Return a finished logged model with `tags`; None where there is none."""
        for model in self._logged_models(experiment, tags):
            if model.status == "READY":
                return LoggedModel(model.model_id, str(model.source_run_id))
        return None

    def _logged_models(
        self, experiment: str, tags: Mapping[str, str]
    ) -> list[mlflow.entities.LoggedModel]:
        query, search = " AND ".join(tag_filter(tags)), self._client.search_logged_models
        return all_pages(lambda page: search([experiment], query, page_token=page))

    # --- writing -----------------------------------------------------------------------------

    def begin_run(
        self,
        experiment: str,
        title: str,
        tags: Mapping[str, str],
        begin: datetime | None = None,
        *,
        about: str = "",
    ) -> str:
        """Return the id of a new run, which began now or at `begin`; `about` is its description, in
        Markdown."""
        start, told = milliseconds(begin), {**tags, NOTE: about} if about else dict(tags)
        return str(self._client.create_run(experiment, start, told, title).info.run_id)

    def end_run(
        self,
        run: str,
        *,
        figures: Mapping[str, float],
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        files: Sequence[Path] = (),
        failed: bool = False,
        end: datetime | None = None,
    ) -> None:
        """Write into a run what came of it, and close it, now or at `end`."""
        from mlflow.entities import Metric, Param, RunTag

        stop = milliseconds(end)
        self._client.log_batch(
            run,
            metrics=[Metric(key, value, stop, 0) for key, value in figures.items()],
            params=[Param(key, value) for key, value in parameters.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        for file in files:
            self._client.log_artifact(run, str(file))
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED", stop)

    def add_points(self, run: str, figures: Mapping[str, float], *, step: int) -> None:
        """Add a point to each metric of a run, open or not, at this moment and `step`; MLflow draws
        their curve."""
        from mlflow.entities import Metric

        now = milliseconds(None)
        self._log_metrics(run, [Metric(key, value, now, step) for key, value in figures.items()])

    def claim(self, run: str, key: str, value: str) -> bool:
        """Write a parameter of a run unless it has a value; return whether it now has this one.

        MLflow never changes a parameter, and its database allows one a key: of several callers at
        once, on whatever machines, one succeeds.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_param(run, key, value)
        except MlflowException:
            if key not in self.claims(run, key):
                raise
        return self.claims(run, key).get(key) == value

    def close_unfinished(self, experiment: str, profile: str) -> None:
        """Close the runs and, as failed, the logged models that killed calls about a decision or a
        failure of a profile left open. One that still works closes both once more, with what came
        of it."""
        about = {"profile": profile}
        found = self._logged_models(experiment, about)
        for model in found:
            if model.status == "PENDING":
                self._client.finalize_logged_model(model.model_id, "FAILED")
        finished = {model.source_run_id for model in found if model.status == "READY"}
        for run in self.runs(experiment, about):
            failed = "failure" in run.tags
            if run.open and (failed or "adapter_digest" in run.tags):
                state = "FAILED" if failed else "FINISHED" if run.id in finished else "KILLED"
                self._client.set_terminated(run.id, state)

    def log_model(
        self, experiment: str, files: Path, measured: Measured, *, tags: Mapping[str, str]
    ) -> LoggedModel:
        """Return a new logged model of `files`, with its figures, finished, and its run closed.

        Where that fails both are closed as failed, unless the store does not answer any more.
        """
        from mlflow.entities import LoggedModelOutput

        run, made = self._begin(experiment, measured, tags), None
        try:
            made = self._client.create_logged_model(
                experiment,
                name="adapter",
                source_run_id=run,
                tags=dict(tags),
                params=dict(measured.parameters),
                model_type="peft-adapter",
            ).model_id
            self._client.log_model_artifacts(made, str(files))
            self._client.log_outputs(run, [LoggedModelOutput(made, 0)])
            self._log_measured(run, made, measured)
            self._client.finalize_logged_model(made, "READY")
        except BaseException:
            with suppress(*store_errors()):  # what went wrong first is what is told
                if made:
                    self._client.finalize_logged_model(made, "FAILED")
                self._client.set_terminated(run, "FAILED")
            raise
        self._client.set_terminated(run, "FINISHED")
        return LoggedModel(made, run)

    def log_refused(self, experiment: str, measured: Measured, tags: Mapping[str, str]) -> None:
        """Write the run of a decision that registers nothing, and close it."""
        run = self._begin(experiment, measured, tags)
        self._log_measured(run, None, measured)
        self._client.set_terminated(run, "FINISHED")

    def _begin(self, experiment: str, measured: Measured, tags: Mapping[str, str]) -> str:
        return self.begin_run(experiment, measured.title, tags, about=measured.about)

    def _log_measured(self, run: str, model: str | None, measured: Measured) -> None:
        """Write into a run what is measured; the key figures are about the logged model, if any."""
        from mlflow.entities import DatasetInput, InputTag, Metric, Param

        inputs = [
            DatasetInput(data_set(used), [InputTag("mlflow.data.context", used.context)])
            for used in measured.data
        ]
        again(lambda: self._client.log_inputs(run, datasets=inputs))
        about = (model, inputs[-1].dataset.name, inputs[-1].dataset.digest) if inputs else ()
        now = milliseconds(None)
        metrics = [Metric(key, value, now, 0, *about) for key, value in measured.figures.items()]
        metrics += [Metric(name, value, now, step) for name, step, value in measured.curves]
        self._client.log_batch(run, params=[Param(*one) for one in measured.parameters.items()])
        self._log_metrics(run, metrics)
        if measured.table:
            self._client.log_table(run, measured.table, "evaluation.json")

    def _log_metrics(self, run: str, metrics: Sequence[mlflow.entities.Metric]) -> None:
        """Write metrics into a run, as many at once as MLflow takes."""
        for start in range(0, len(metrics), LARGEST_BATCH):
            self._client.log_batch(run, metrics[start : start + LARGEST_BATCH])
