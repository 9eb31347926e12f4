"""Registering an accepted adapter, once."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core import paths as names
from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.core.storage import write_json
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.prepare.result import SuiteSet
from components.profile import Profile
from components.registry.bom import BOM, bill_of
from components.registry.changes import chain_of
from components.registry.current import Current, check_champion
from components.registry.history import check_decided_on
from components.registry.looks import Looked, check_plan, record_look
from components.registry.measured import measured_of, refusal_tags
from components.registry.mlflow_registry import CANDIDATE, EVIDENCE, Registry, Version
from components.registry.release import Release, gather_release, summarise, write_card
from components.registry.sources import NOT_PUSHED, PUSHED, keep_sources
from components.registry.verification import (
    CARD,
    LOADED_BY,
    LOADER,
    OF_ALL,
    POLICY,
    evidence_tags,
    verify_version,
)
from components.train.result import Adapter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered version with the alias `candidate`; `new` tells whether this call made it."""

    name: str
    version: str
    new: bool


def register(workspace: Workspace, *, name: str, experiment: str) -> Registered:
    """Return the version of the accepted adapter in `workspace`, alias `candidate`.

    The same adapter with the same evidence and decision is registered once; a call that was killed
    between logged model, version and alias is completed by the next. Raises `EvidenceError` where
    the gate did not accept the adapter, its decision is stale, it compared with another champion
    than there is now, or the policy planned fewer looks; `RegistryError` where MLflow fails.
    """
    registry = Registry(workspace.root)
    release = gather_release(workspace, registry.user())
    looked = record_look(registry, name, experiment, release.look)
    registry.close_unfinished(registry.experiment(experiment), release.profile)
    check_champion(registry, name, release.decision)
    check_plan(release.policy, looked)
    tags = release.tags()
    identity = {key: tags[key] for key in ("adapter_digest", "evidence_digest", "decision_digest")}
    version, made = _registered(registry, name, identity), None
    if version is None:
        anew = bool(registry.numbers(name, identity))
        made = _new_version(registry, release, identity, name, experiment, looked, anew=anew)
        version = _first(registry, name, made, identity)
    _make_candidate(registry, registry.version(name, version))
    return Registered(name, version, new=made == version)


def record_refusal(
    workspace: Workspace, profile: Profile, decision: Decision, evidence: Evidence, looked: Looked
) -> None:
    """Write a run about a decision that registers nothing, once, beside those that do."""
    registry = Registry(workspace.root)
    home = registry.experiment(profile.registration.experiment)
    tags = {"profile": profile.name, **refusal_tags(decision, looked.words, workspace.root)}
    same = {key: tags[key] for key in ("profile", "evidence_digest", "decision_digest")}
    registry.close_unfinished(home, profile.name)
    if any(run.finished for run in registry.runs(home, same)):
        return
    prompts = SuiteSet.load(workspace.stage("prepare"))
    adapter = Adapter.load(workspace.stage("train"))
    found = measured_of(profile, prompts, adapter, evidence, decision, workspace.root)
    registry.log_refused(home, found, tags)


def _registered(registry: Registry, name: str, identity: Mapping[str, str]) -> str | None:
    """Return the oldest version with these tags that can be relied on; None: there is none."""
    for number in registry.numbers(name, identity):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                verify_version(registry, registry.version(name, number), Path(scratch))
            except RegistryError as error:
                log.warning("registered anew: %s", error)
            else:
                return number
    return None


def _first(registry: Registry, name: str, made: str, identity: Mapping[str, str]) -> str:
    """Return the first version with this identity that can be relied on.

    Two calls at once make two, and the numbers tell both which one stays; the later one is deleted
    by the call that made it.
    """
    first = _registered(registry, name, identity)
    if first is None:
        raise RegistryError(
            f"version {made} of {name} was registered, and the store gives back something other "
            "than it was given; look at its files, and run the same command again"
        )
    if made != first:
        registry.delete_version(name, made)
    return first


def _make_candidate(registry: Registry, version: Version) -> None:
    """Let `candidate` point to a version; raises `RegistryError` for one that somebody rejected or
    withdrew, and where the alias does not stay there."""
    name, number = version.name, version.number
    model = registry.model(name)
    check_decided_on(version, CANDIDATE, chain_of(model.tags))
    if model.aliases.get(CANDIDATE) == number:
        return
    registry.set_alias(name, CANDIDATE, number)
    model = registry.model(name)
    if (found := model.aliases.get(CANDIDATE)) != number:
        raise RegistryError(
            f"{version} is registered, but version {found or 'none'} became {CANDIDATE} at the "
            "same time; the same command again makes it the candidate"
        )
    try:
        check_decided_on(version, CANDIDATE, chain_of(model.tags))
    except RegistryError:  # somebody turned it down at the same time
        registry.set_alias(name, CANDIDATE, None)
        raise


def _new_version(
    registry: Registry,
    release: Release,
    identity: dict[str, str],
    name: str,
    experiment: str,
    looked: Looked,
    *,
    anew: bool,
) -> str:
    """Return the number of a new version, made of what a killed call had finished, unless `anew`:
    then that is what a version that cannot be relied on is made of."""
    log.info("registering adapter %s as %s", release.decision.adapter[:12], name)
    home = registry.experiment(experiment)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        tags = release.tags() | {"looks": looked.words}
        tags |= _lay_out(release, files, name=name, looked=looked, root=registry.root)
        # Of a call that was killed; its card may name another commit.
        done = registry.finished_model(home, identity | {OF_ALL: tags[OF_ALL]})
        logged = None if anew else done
        if logged is None:
            logged = registry.log_model(home, files, release.measured(registry.root), tags=tags)
    return registry.create_version(name, logged, tags | {PUSHED: NOT_PUSHED}, summarise(release))


def _lay_out(
    release: Release, files: Path, *, name: str, looked: Looked, root: Path
) -> dict[str, str]:
    """Write what a version holds into `files` and return the digests of its evidence as tags.

    The evidence is all that its decision can be made again from, but for the rows.
    """
    shutil.copytree(release.adapter.adapter, files / names.ADAPTER)
    evidence = files / EVIDENCE
    evidence.mkdir()
    for result in release.results:
        shutil.copy(result.folder / result.FILE, evidence)
    (evidence / POLICY).write_bytes(release.policy.content)
    card = write_card(release, name=name, looked=looked, root=root)
    (evidence / CARD).write_text(card, encoding="utf-8")
    write_json(evidence / BOM, bill_of(release, name=name))
    if release.report:
        shutil.copy(release.report, evidence)
    keep_sources(Current.of(Workspace(root, release.profile)), evidence)
    (files / LOADER).write_text(LOADED_BY, encoding="utf-8")
    return evidence_tags(evidence)
