"""Experiments and runs in MLflow, and what a run is for besides: to claim a number once."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.registry.mlflow_client import (
    address_of,
    all_pages,
    client_of,
    milliseconds,
    set_up,
    tag_filter,
    unless_there,
    with_clear_errors,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class Run:
    """A run of an experiment; an open one was not ended."""

    id: str
    tags: dict[str, str]
    open: bool


def as_metrics(rates: Mapping[str, RateFigure]) -> dict[str, float]:
    """Return rates as metrics of MLflow: each with `.low`, `.high` and `.n` beside it."""
    flat: dict[str, float] = {}
    for key, rate in rates.items():
        flat |= {key: rate.rate, f"{key}.low": rate.low, f"{key}.high": rate.high}
        flat[f"{key}.n"] = rate.n
    return flat


@with_clear_errors
class Runs:
    """The experiments and runs of one server or embedded store."""

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
        unless_there(functools.partial(self._client.create_experiment, name, location))
        return self.experiment(name)

    def runs(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        """Return the runs of an experiment that carry `tags`, the newest first."""
        query = " AND ".join(tag_filter(tags))
        found = all_pages(
            lambda token: self._client.search_runs([experiment], query, page_token=token)
        )
        return [
            Run(run.info.run_id, dict(run.data.tags), run.info.status == "RUNNING") for run in found
        ]

    def begin_run(
        self, experiment: str, title: str, tags: Mapping[str, str], begin: datetime | None = None
    ) -> str:
        """Return the id of a new run, which began now or at `begin`."""
        start = milliseconds(begin)
        return str(self._client.create_run(experiment, start, dict(tags), title).info.run_id)

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

    def claims(self, run: str, prefix: str) -> dict[str, str]:
        """Return the parameters of a run whose keys start with `prefix`."""
        found = self._client.get_run(run).data.params
        return {key: value for key, value in found.items() if key.startswith(prefix)}

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
