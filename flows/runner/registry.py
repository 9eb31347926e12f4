"""What a run asks of the registry: the champion before its evaluation, and the registration."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.core.errors import ConfigError, EvidenceError, RegistryError
from components.core.paths import Workspace
from components.core.untrusted_text import for_markdown, for_terminal
from components.evaluate.result import Champion, Evidence
from components.gate.result import Decision
from components.inputs import keep_folder
from components.profile import Profile, load_profile
from components.train.result import Adapter

if TYPE_CHECKING:
    from components.registry.looks import Looked
    from components.registry.mlflow_registry import Registry
    from components.registry.registration import Registered


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The gate's decision, the look that it is, and what was registered; None where it said no."""

    decision: Decision
    looked: Looked
    registered: Registered | None


def conclude(workspace: Workspace) -> Outcome:
    """Record the gate's decision as a look, and register the adapter if it was accepted; else leave
    a run that says why not."""
    from components.registry.registration import record_refusal, register

    profile = load_profile(workspace.profile_file)
    decision = Decision.load(workspace.stage("gate"))
    evidence = Evidence.load(workspace.stage("evaluate"))
    looked = record_decision(workspace, profile, decision, evidence)
    if not decision.accepted:
        record_refusal(workspace, profile, decision, evidence, looked)
        return Outcome(decision, looked, None)
    name, experiment = profile.registration.name, profile.registration.experiment
    return Outcome(decision, looked, register(workspace, name=name, experiment=experiment))


def record_failure(workspace: Workspace, error: Exception) -> None:
    """Leave a run that says why nothing was decided, where the registry takes it."""
    from components.registry.measured import code_here
    from components.registry.mlflow_registry import Registry

    profile = load_profile(workspace.profile_file)
    title = f"{profile.name} {datetime.now(UTC):%Y-%m-%d %H:%M} failed"
    tags = {"profile": profile.name, "gate": "not reached", "failure": for_terminal(str(error))}
    tags |= code_here(workspace.root)
    try:
        registry = Registry(workspace.root)
        home = registry.experiment(profile.registration.experiment)
        registry.close_unfinished(home, profile.name)
        about = for_markdown(f"Nothing was decided: {tags['failure']}")
        run = registry.begin_run(home, title, tags, about=about)
        registry.end_run(run, figures={}, parameters={}, tags={}, failed=True)
    except RegistryError as refused:
        log.warning("MLflow has no run of this failure: %s", refused)


def record_decision(
    workspace: Workspace, profile: Profile, decision: Decision, evidence: Evidence
) -> Looked:
    """Record a decision on a profile's evidence as a look; `profile` has the training's seed."""
    from components.registry.looks import look_of, record_look
    from components.registry.mlflow_registry import Registry

    name, experiment = profile.registration.name, profile.registration.experiment
    look = look_of(profile, decision, evidence)
    return record_look(Registry(workspace.root), name, experiment, look)


def describe_look(workspace: Workspace, decision: Decision, evidence: Evidence) -> str:
    """Return in words which look a decision is, as the registry has it, where there is one."""
    again = f"`safereact run --profile {workspace.profile}`"
    unknown = f"not recorded yet; {again} counts them"
    if not os.environ.get("MLFLOW_TRACKING_URI") and not workspace.tracking_store.is_dir():
        return unknown
    from components.registry.looks import find_look, look_of
    from components.registry.mlflow_registry import Registry

    profile = load_profile(workspace.profile_file)
    look = look_of(profile, decision, evidence)
    try:
        looked = find_look(Registry(workspace.root), profile.registration.name, look)
    except RegistryError as error:
        log.warning("the page does not say which look this is: %s", error)
        return f"the registry could not be read; {again} counts them"
    return looked.words if looked else unknown


def measures_champion(workspace: Workspace) -> bool:
    """Return whether the profile measures the champion."""
    return load_profile(workspace.profile_file).evaluate.champion


def bring_champion(workspace: Workspace) -> bool:
    """Bring the champion of the profile's registered model below `data/champions`; return whether
    it changed.

    The registry is asked only for a profile that measures the champion. Raises `RegistryError`
    where it does not answer.
    """
    keep_folder(workspace.champion)
    profile = load_profile(workspace.profile_file)
    if not profile.evaluate.champion:
        return False
    from components.registry.delivery import fetch_champion
    from components.registry.mlflow_registry import Registry

    trained = workspace.stage("train")
    own = Adapter.load(trained).digest if (trained / Adapter.FILE).is_file() else ""
    name = profile.registration.name
    return fetch_champion(Registry(workspace.root), name, workspace.champion, own=own)


def bring_own_champion(workspace: Workspace) -> bool:
    """Do the same for a profile that measures the champion; raise `ConfigError` for another: a
    champion that nobody measures would only make the evaluation stale."""
    if not measures_champion(workspace):
        raise ConfigError(
            f"{workspace.profile_file} does not measure the champion; write `champion: true` under "
            "its `evaluate`"
        )
    return bring_champion(workspace)


def describe_champion(workspace: Workspace) -> str:
    """Return in words which champion an evaluation of the profile meets."""
    champion = Champion.load(workspace.champion)
    if champion.released is None:
        return f"no version of {champion.name} was promoted before this adapter"
    released = champion.released
    return f"{champion.name} version {released.version}, adapter {released.digest:.12}"


def champion_moved(workspace: Workspace, registry: Registry) -> str:
    """Return in words that the last decision rests on another champion than the registry has now;
    empty where it does not, or where there is no decision yet."""
    from components.registry.current import check_champion

    folder = workspace.stage("gate")
    if not (folder / Decision.FILE).is_file():
        return ""
    name = load_profile(workspace.profile_file).registration.name
    try:
        check_champion(registry, name, Decision.load(folder))
    except EvidenceError as error:
        return str(error)
    return ""
