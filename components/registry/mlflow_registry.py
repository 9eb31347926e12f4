"""The MLflow registry as this project uses it; only `mlflow_*` here import mlflow.

A registered version holds `adapter/` (PEFT's own format with the prompt contract) and `evidence/`
(decision, figures, model card, report), and its tags say where both come from. What may be
registered and promoted is decided in `registration` and `promotion`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import RegistryError
from components.core.paths import ADAPTER
from components.registry.mlflow_client import (
    again,
    all_pages,
    found_or_none,
    milliseconds,
    tag_filter,
    unless_there,
    with_clear_errors,
)
from components.registry.mlflow_runs import Runs

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
EVIDENCE = "evidence"  # folder of a version's evidence, beside its adapter
_NAMED = 20  # registered models that an error names at most


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model: where its aliases point, and its tags."""

    name: str
    aliases: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version and the logged model it was made from."""

    name: str
    number: str
    tags: dict[str, str]
    logged_model: str

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A finished logged model and the run it belongs to."""

    id: str
    run: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures with the data set they were measured on."""

    figures: dict[str, float]
    data: str  # the data set's name
    digest: str
    source: str


@with_clear_errors
class Registry(Runs):
    """The runs, logged models and registered models of one server or embedded store."""

    # --- reading -----------------------------------------------------------------------------

    def model(self, name: str) -> Model:
        """Return the registered model `name`; raises `RegistryError` naming those there are."""
        model = self.find_model(name)
        if model is None:
            found = self._client.search_registered_models(max_results=_NAMED)
            known = ", ".join(model.name for model in found) or "none"
            raise RegistryError(f"no registered model is named {name!r}; there are: {known}")
        return model

    def find_model(self, name: str) -> Model | None:
        """Return the registered model `name`, None where nothing was registered under it yet."""
        found = found_or_none(lambda: self._client.get_registered_model(name))
        if found is None:
            return None
        aliases = {alias: str(number) for alias, number in found.aliases.items()}
        return Model(name, aliases, dict(found.tags))

    def version(self, name: str, number: str) -> Version:
        """Return one version; raises `RegistryError` where there is none of that number."""
        found = found_or_none(lambda: self._client.get_model_version(name, number))
        if found is None:
            raise RegistryError(f"{name} has no version {number!r}")
        # `model_id` of a version is None on sqlite; its source names the logged model.
        logged = str(found.source).removeprefix("models:/")
        return Version(name, str(found.version), dict(found.tags), logged)

    def numbers(self, name: str, tags: Mapping[str, str] | None = None) -> list[str]:
        """Return the numbers of the versions that carry `tags`, oldest first."""
        found = self._versions(name, tags)
        return [str(number) for number in sorted(int(version.version) for version in found)]

    def _versions(self, name: str, tags: Mapping[str, str] | None = None) -> list[ModelVersion]:
        query = " AND ".join((f"name = '{name}'", *tag_filter(tags or {})))
        return all_pages(lambda token: self._client.search_model_versions(query, page_token=token))

    def oldest_run(self, name: str) -> str:
        """Return the run of the oldest version of `name` whose run is there.

        Raises `RegistryError` where no version has one.
        """
        for version in sorted(self._versions(name), key=lambda found: int(found.version)):
            made_by = version.run_id or ""
            run = found_or_none(functools.partial(self._client.get_run, made_by))
            if run and run.info.lifecycle_stage == "active":
                return str(run.info.run_id)
        raise RegistryError(
            f"no run of a version of {name} is left, and its history is kept there; bring one "
            "back with `mlflow runs restore`, or register an adapter with `safereact run`"
        )

    def figures(self, version: Version) -> dict[str, float]:
        """Return the metrics that are linked to the version's logged model."""
        logged = self._client.get_logged_model(version.logged_model)
        return {metric.key: metric.value for metric in logged.metrics or []}

    def fetch(self, version: Version, folder: Path) -> Path:
        """Download a version into `folder` and return its adapter's folder."""
        from mlflow.artifacts import download_artifacts

        place = {"tracking_uri": self._address, "registry_uri": self._address}
        uri = f"models:/{version.name}/{version.number}"
        # Without a destination MLflow would answer with the store's own folder.
        download_artifacts(artifact_uri=uri, dst_path=str(folder), **place)
        return folder / ADAPTER

    # --- writing -----------------------------------------------------------------------------

    def finished_model(self, experiment: str, tags: Mapping[str, str]) -> LoggedModel | None:
        """Return the finished logged model with `tags`, if there is one, and close what killed
        calls left open."""
        query = " AND ".join(tag_filter(tags))
        found = all_pages(
            lambda token: self._client.search_logged_models(
                [experiment], filter_string=query, page_token=token
            )
        )
        ready = [
            LoggedModel(m.model_id, str(m.source_run_id)) for m in found if m.status == "READY"
        ]
        finished = {model.run for model in ready}
        for run in (run for run in self.runs(experiment, tags) if run.open):
            self._client.set_terminated(run.id, "FINISHED" if run.id in finished else "KILLED")
        return ready[0] if ready else None

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
        from mlflow.entities import LoggedModelOutput, Param

        run = self.begin_run(experiment, tags["adapter_digest"][:12], tags)
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
            self._log_figures(run, model, measured)
            self._client.log_batch(run, params=[Param(*one) for one in parameters.items()])
            self._client.finalize_logged_model(model, "READY")
        except BaseException:
            self._client.set_terminated(run, "FAILED")
            raise
        self._client.set_terminated(run, "FINISHED")
        return LoggedModel(model, run)

    def _log_figures(self, run: str, model: str, measured: Measured) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

        digest = measured.digest[:36]  # as much as MLflow keeps
        data = Dataset(measured.data, digest, "local", f'{{"uri": "{measured.source}"}}')
        use = InputTag("mlflow.data.context", "evaluation")
        again(lambda: self._client.log_inputs(run, datasets=[DatasetInput(data, [use])]))
        now = milliseconds(None)
        metrics = [
            Metric(key, value, now, 0, model, measured.data, digest)
            for key, value in measured.figures.items()
        ]
        self._client.log_batch(run, metrics=metrics)

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

    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Let `alias` point to the version `number`."""
        again(lambda: self._client.set_registered_model_alias(name, alias, number))

    def delete_version(self, name: str, number: str) -> None:
        """Delete one version; its logged model and run stay."""
        self._client.delete_model_version(name, number)

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        again(lambda: self._client.set_registered_model_tag(name, key, value))
