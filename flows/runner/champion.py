"""The champion, brought below data/champions before an evaluation that measures it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ConfigError, EvidenceError
from components.core.paths import KEEP, Workspace
from components.evaluate.result import Champion
from components.gate.result import Decision
from components.profile import load_profile
from components.train.result import Adapter

if TYPE_CHECKING:
    from components.registry.mlflow_registry import Registry


def keep_folder(folder: Path) -> None:
    """Make a profile's folder for its champion; DVC watches it, and git keeps it when empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / KEEP).exists():
        (folder / KEEP).touch()


def measures_champion(workspace: Workspace) -> bool:
    """Return whether the profile measures the champion."""
    return load_profile(workspace.profile_file).evaluate.champion


def bring_champion(workspace: Workspace) -> bool:
    """Bring the champion of the profile's registered model into its folder; return whether it
    changed.

    The registry is asked only for a profile that measures the champion. Raises `RegistryError`
    where it does not answer.
    """
    keep_folder(workspace.champion)
    if not measures_champion(workspace):
        return False
    from components.registry.champion import fetch_champion
    from components.registry.mlflow_registry import Registry

    name = load_profile(workspace.profile_file).registration.name
    own = _own_adapter(workspace)
    return fetch_champion(Registry(workspace.root), name, workspace.champion, own=own)


def champion_told(workspace: Workspace) -> str:
    """Return in words which champion an evaluation of the profile meets."""
    champion = Champion.load(workspace.champion)
    if champion.released is None:
        return f"no version of {champion.name} was promoted before this adapter"
    released = champion.released
    return f"{champion.name} version {released.version}, adapter {released.digest:.12}"


def champion_moved(workspace: Workspace, registry: Registry) -> str:
    """Return in words that the last decision rests on another champion than the registry has now;
    empty where it does not, or where there is no decision yet."""
    from components.registry.champion import check_champion

    folder = workspace.stage("gate")
    if not (folder / Decision.FILE).is_file():
        return ""
    name = load_profile(workspace.profile_file).registration.name
    try:
        check_champion(registry, name, Decision.load(folder))
    except EvidenceError as error:
        return str(error)
    return ""


def check_measures(workspace: Workspace) -> None:
    """Raise `ConfigError` unless the profile measures the champion: a champion that is brought for
    nobody would only make the evaluation stale."""
    if not measures_champion(workspace):
        raise ConfigError(
            f"{workspace.profile_file} does not measure the champion; write `champion: true` under "
            "its `evaluate`"
        )


def _own_adapter(workspace: Workspace) -> str:
    """Return the digest of the adapter that is trained last, empty where there is none yet."""
    folder = workspace.stage("train")
    return Adapter.load(folder).digest if (folder / Adapter.FILE).is_file() else ""
