"""The MLflow registry as this project uses it. Nothing else imports mlflow.

A registered version holds `adapter/` (PEFT's own format with the prompt contract) and `evidence/`
(decision, figures, model card, report), and carries its lineage as tags. What may be registered
and promoted is decided in `registration` and `promotion`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import EvidenceError, RegistryError
from components.core.paths import ADAPTER, Workspace
from components.core.storage import digest_folder
from components.registry.entries import LoggedModel, Measured, Model, Run, Version
from components.registry.mlflow_client import (
    address_of,
    again,
    all_pages,
    client_of,
    milliseconds,
    set_up,
    tag_filter,
    unless_there,
)
from components.registry.mlflow_errors import clear_errors
from components.registry.release import check_adapter_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
EVIDENCE = "evidence"  # folder of a version's evidence, beside its adapter
_NAMED = 20  # registered models that an error names at most
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Registry:
    """The runs, logged models and registered models of one server or embedded store."""

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

    # --- reading -----------------------------------------------------------------------------

    @clear_errors
    def model(self, name: str) -> Model:
        """Return the registered model `name`; raises `RegistryError` naming those there are."""
        model = self.find_model(name)
        if model is None:
            found = self._client.search_registered_models(max_results=_NAMED)
            known = ", ".join(model.name for model in found) or "none"
            raise RegistryError(f"no registered model is named {name!r}; there are: {known}")
        return model

    @clear_errors
    def find_model(self, name: str) -> Model | None:
        """Return the registered model `name`, None where nothing was registered under it yet."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        aliases = {alias: str(number) for alias, number in found.aliases.items()}
        return Model(name, aliases, dict(found.tags))

    @clear_errors
    def version(self, name: str, number: str) -> Version:
        """Return one version; raises `RegistryError` where there is none of that number."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code in _UNKNOWN:
                raise RegistryError(f"{name} has no version {number!r}") from error
            raise
        # `model_id` of a version is None on sqlite; its source names the logged model.
        logged = str(found.source).removeprefix("models:/")
        return Version(name, str(found.version), dict(found.tags), logged)

    @clear_errors
    def numbers(self, name: str, tags: Mapping[str, str] | None = None) -> list[str]:
        """Return the numbers of the versions that carry `tags`, oldest first."""
        found = self._versions(name, tags)
        return [str(number) for number in sorted(int(version.version) for version in found)]

    def _versions(self, name: str, tags: Mapping[str, str] | None = None) -> list[ModelVersion]:
        query = " AND ".join((f"name = '{name}'", *tag_filter(tags or {})))
        return all_pages(lambda token: self._client.search_model_versions(query, page_token=token))

    @clear_errors
    def oldest_run(self, name: str) -> str:
        """Return the run of the oldest version of `name` whose run is there.

        Raises `RegistryError` where no version has one.
        """
        from mlflow.exceptions import MlflowException

        for version in sorted(self._versions(name), key=lambda found: int(found.version)):
            try:
                run = self._client.get_run(version.run_id) if version.run_id else None
            except MlflowException as error:
                if error.error_code not in _UNKNOWN:
                    raise
                continue
            if run and run.info.lifecycle_stage == "active":
                return run.info.run_id
        raise RegistryError(
            f"no run of a version of {name} is left, and its moves are claimed there; bring one "
            "back with `mlflow runs restore`, or register an adapter with `safereact run`"
        )

    @clear_errors
    def claims(self, run: str, prefix: str) -> dict[str, str]:
        """Return the parameters of a run whose keys start with `prefix`."""
        found = self._client.get_run(run).data.params
        return {key: value for key, value in found.items() if key.startswith(prefix)}

    @clear_errors
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

    @clear_errors
    def figures(self, version: Version) -> dict[str, float]:
        """Return the metrics that are linked to the version's logged model."""
        logged = self._client.get_logged_model(version.logged_model)
        return {metric.key: metric.value for metric in logged.metrics or []}

    @clear_errors
    def runs(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        """Return the runs of an experiment that carry `tags`, the newest first."""
        found = self._runs(experiment, tag_filter(tags))
        return [
            Run(run.info.run_id, dict(run.data.tags), run.info.status == "RUNNING") for run in found
        ]

    def _runs(self, experiment: str, filters: Sequence[str]) -> list[MlflowRun]:
        query = " AND ".join(filters)
        return all_pages(
            lambda token: self._client.search_runs([experiment], query, page_token=token)
        )

    @clear_errors
    def fetch(self, version: Version, folder: Path) -> Path:
        """Download a version into `folder` and return its adapter's folder, digest checked.

        Raises `RegistryError` where the files are not what was registered, and for anything but
        a safetensors adapter.
        """
        from mlflow.artifacts import download_artifacts

        uri = f"models:/{version.name}/{version.number}"
        place = {"tracking_uri": self._address, "registry_uri": self._address}
        # Without a destination MLflow would answer with the store's own folder.
        download_artifacts(artifact_uri=uri, dst_path=str(folder), **place)
        adapter = folder / ADAPTER
        try:
            check_adapter_files(adapter)
        except EvidenceError as error:
            raise RegistryError(f"{uri} cannot be used: {error}") from error
        expected, found = version.tags.get("adapter_digest"), digest_folder(adapter)
        if expected != found:
            raise RegistryError(
                f"{uri} has the digest {found}, registered was {expected}; its files were changed"
            )
        return adapter

    # --- writing -----------------------------------------------------------------------------

    @clear_errors
    def experiment(self, name: str) -> str:
        """Return the id of the experiment `name`, which is created where it is missing."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        location = None if self._server else (self._store / "artifacts").as_uri()
        unless_there(functools.partial(self._client.create_experiment, name, location))
        return self.experiment(name)

    @clear_errors
    def finished_model(self, experiment: str, tags: Mapping[str, str]) -> LoggedModel | None:
        """Return the finished logged model with `tags`, if there is one, and close what killed
        calls left open."""
        filters = tag_filter(tags)
        query = " AND ".join(filters)
        found = all_pages(
            lambda token: self._client.search_logged_models(
                [experiment], filter_string=query, page_token=token
            )
        )
        ready = [
            LoggedModel(m.model_id, str(m.source_run_id)) for m in found if m.status == "READY"
        ]
        runs = {model.run for model in ready}
        for run in self._runs(experiment, [*filters, "status = 'RUNNING'"]):
            done = run.info.run_id in runs
            self._client.set_terminated(run.info.run_id, "FINISHED" if done else "KILLED")
        return ready[0] if ready else None

    @clear_errors
    def log_model(
        self,
        experiment: str,
        files: Path,
        measured: Measured,
        *,
        tags: Mapping[str, str],
        parameters: Mapping[str, str],
    ) -> LoggedModel:
        """Return a new logged model of `files`, with its figures, finished, and its run closed."""
        from mlflow.entities import LoggedModelOutput

        title = tags["adapter_digest"][:12]
        run = self._client.create_run(experiment, run_name=title, tags=dict(tags)).info.run_id
        try:
            model = self._client.create_logged_model(
                experiment,
                name="adapter",
                source_run_id=run,
                tags=dict(tags),
                params=dict(parameters),
                model_type="peft-adapter",
            ).model_id
            self._client.log_model_artifacts(model, str(files))
            self._client.log_outputs(run, [LoggedModelOutput(model, 0)])
            self._log_figures(run, model, measured, parameters)
            self._client.finalize_logged_model(model, "READY")
        except BaseException:
            self._client.set_terminated(run, "FAILED")
            raise
        self._client.set_terminated(run, "FINISHED")
        return LoggedModel(model, run)

    def _log_figures(
        self, run: str, model: str, measured: Measured, parameters: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        digest = measured.digest[:36]  # as much as MLflow keeps
        data = Dataset(measured.data, digest, "local", f'{{"uri": "{measured.source}"}}')
        use = InputTag("mlflow.data.context", "evaluation")
        again(lambda: self._client.log_inputs(run, datasets=[DatasetInput(data, [use])]))
        now = milliseconds(None)
        metrics = [
            Metric(key, value, now, 0, model, measured.data, digest)
            for key, value in measured.figures.items()
        ]
        settings: list[Any] = [Param(key, value) for key, value in parameters.items()]
        self._client.log_batch(run, metrics=metrics, params=settings)

    @clear_errors
    def begin_run(
        self, experiment: str, title: str, tags: Mapping[str, str], begin: datetime | None = None
    ) -> str:
        """Return the id of a new run, which began now or at `begin`."""
        start = milliseconds(begin)
        return self._client.create_run(experiment, start, dict(tags), title).info.run_id

    @clear_errors
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

    @clear_errors
    def create_version(
        self, name: str, logged: LoggedModel, tags: Mapping[str, str], description: str
    ) -> str:
        """Return the number of a new version of `name`, made from a logged model."""
        if self.find_model(name) is None:
            unless_there(functools.partial(self._client.create_registered_model, name))
        version = self._client.create_model_version(
            name,
            source=f"models:/{logged.id}",
            model_id=logged.id,  # a server refuses the source without it
            run_id=logged.run,
            tags=dict(tags),
            description=description,
        )
        return str(version.version)

    @clear_errors
    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Let `alias` point to the version `number`."""
        again(lambda: self._client.set_registered_model_alias(name, alias, number))

    @clear_errors
    def delete_version(self, name: str, number: str) -> None:
        """Delete one version; its logged model and run stay."""
        self._client.delete_model_version(name, number)

    @clear_errors
    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        again(lambda: self._client.set_registered_model_tag(name, key, value))
