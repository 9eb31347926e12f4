"""The MLflow registry as this project uses it; only `mlflow_*` here import mlflow.

A registered version holds `adapter/` (PEFT's own format with the prompt contract) and `evidence/`
(decision, figures, model card, report), and its tags say where both come from. What may be
registered and promoted is decided in `registration` and `promotion`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.core.errors import RegistryError
from components.core.paths import ADAPTER
from components.registry.changes import PREFIX
from components.registry.mlflow_client import (
    accepted_user,
    again,
    all_pages,
    download,
    found_or_none,
    tag_filter,
    unless_there,
    with_clear_errors,
)
from components.registry.mlflow_runs import LoggedModel, Runs

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
EVIDENCE = "evidence"  # folder of a version's evidence, beside its adapter
SIGNATURES = "signatures"  # and of the envelopes that are about both
DOWNLOADED = "registered_model_meta"  # a note that MLflow puts beside what it has brought
_NAMED = 20  # registered models that an error names at most


class Model(NamedTuple):
    """A registered model: where its aliases point, and its tags."""

    name: str
    aliases: dict[str, str]
    tags: dict[str, str]


class Version(NamedTuple):
    """A registered version and the logged model it was made from."""

    name: str
    number: str
    tags: dict[str, str]
    logged_model: str

    @property
    def adapter(self) -> str:
        """The digest of its adapter, as its tag has it; empty where it has none."""
        return self.tags.get("adapter_digest", "")

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@with_clear_errors
class Registry(Runs):
    """The registered models of one server or embedded store, beside its runs."""

    def user(self) -> str:
        """Return the user whose credentials the server accepts; empty: it knows no users."""
        return accepted_user(self._server or "")

    # --- reading -----------------------------------------------------------------------------

    def model(self, name: str) -> Model:
        """Return the registered model `name`; raises `RegistryError` naming those there are."""
        model = self.find_model(name)
        if model is None:
            found = self._client.search_registered_models(max_results=_NAMED)
            known = ", ".join(model.name for model in found)
            alone, at, _ = name.partition("@")
            raise RegistryError(
                f"no registered model is named {name!r}; "
                + (f"here a name stands alone, {alone!r}; " if at else "")
                + (f"there are: {known}" if known else "nothing is registered here yet")
                + ". `safereact run` registers what its gate accepts, and nothing else; `safereact "
                "status` says what the gate decided"
            )
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
        get = functools.partial(self._client.get_model_version, name, number)
        # What is no number, or a greater one than a database holds, is asked of none.
        known = re.fullmatch(r"[0-9]{1,9}", number)
        found = found_or_none(get) if known else None
        if found is None:
            raise RegistryError(f"{name} has no version {number!r}")
        # `model_id` of a version is None on sqlite; its source names the logged model.
        logged = str(found.source).removeprefix("models:/")
        return Version(name, str(found.version), dict(found.tags), logged)

    def version_at(self, name: str, alias: str) -> Version | None:
        """Return the version that carries an alias; None where none does."""
        model = self.find_model(name)
        number = model.aliases.get(alias) if model else None
        return self.version(name, number) if number else None

    def numbers(self, name: str, tags: Mapping[str, str] | None = None) -> list[str]:
        """Return the numbers of the versions that carry `tags`, oldest first."""
        return [str(version.version) for version in self._versions(name, tags)]

    def _versions(self, name: str, tags: Mapping[str, str] | None = None) -> list[ModelVersion]:
        query = " AND ".join((f"name = '{name}'", *tag_filter(tags or {})))
        found = all_pages(lambda page: self._client.search_model_versions(query, page_token=page))
        return sorted(found, key=lambda version: int(version.version))

    def oldest_run(self, name: str) -> str:
        """Return the run of the oldest version of `name` whose run is there.

        Raises `RegistryError` where no version has one.
        """
        for version in self._versions(name):
            get = functools.partial(self._client.get_run, version.run_id or "")
            run = found_or_none(get)
            if run and run.info.lifecycle_stage == "active":
                return str(run.info.run_id)
        raise RegistryError(
            f"no run of a version of {name} is left, and its history is kept there; bring one "
            "back with `mlflow runs restore`, or register an adapter with `safereact run`"
        )

    def fetch(self, version: Version, folder: Path) -> Path:
        """Download a version into `folder` and return its adapter's folder."""
        download(self._address, f"models:/{version.name}/{version.number}", folder)
        (folder / DOWNLOADED).unlink(missing_ok=True)
        return folder / ADAPTER

    def fetch_signatures(self, version: Version, folder: Path) -> None:
        """Download the envelopes about a version, if it has any, into a part of `folder`."""
        look = functools.partial(self._client.list_logged_model_artifacts, version.logged_model)
        if found_or_none(lambda: look(SIGNATURES)):
            download(self._address, f"models:/{version.name}/{version.number}/{SIGNATURES}", folder)

    # --- writing -----------------------------------------------------------------------------

    def create_version(
        self, name: str, logged: LoggedModel, tags: Mapping[str, str], description: str
    ) -> str:
        """Return the number of a new version of `name`, made from a logged model."""
        if self.find_model(name) is None:
            about = (
                "Adapters that the gate accepted; the alias `champion` is the one in use. The tags "
                f"`{PREFIX}*` are the history of who decided what; `safereact history {name}` "
                "checks it, and an edit of one breaks it."
            )
            create = self._client.create_registered_model
            unless_there(functools.partial(create, name, description=about))
        version = self._client.create_model_version(
            name,
            source=f"models:/{logged.id}",
            model_id=logged.id,  # a server refuses the source without it
            run_id=logged.run,
            tags=dict(tags),
            description=description,
        )
        return str(version.version)

    def set_alias(self, name: str, alias: str, number: str | None) -> None:
        """Let `alias` point to the version `number`; None takes it away."""
        if number is None:
            again(lambda: self._client.delete_registered_model_alias(name, alias))
        else:
            again(lambda: self._client.set_registered_model_alias(name, alias, number))

    def add_file(self, version: Version, file: Path, folder: str) -> None:
        """Put a file into a folder beside a version's adapter and evidence."""
        self._client.log_model_artifact(version.logged_model, str(file), folder)

    def delete_version(self, name: str, number: str) -> None:
        """Delete one version; its logged model and run stay."""
        self._client.delete_model_version(name, number)

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        again(lambda: self._client.set_registered_model_tag(name, key, value))

    def set_version_tag(self, version: Version, key: str, value: str) -> None:
        """Set a tag of a version."""
        again(lambda: self._client.set_model_version_tag(version.name, version.number, key, value))
