"""Registering an accepted adapter, once."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components import workspace as names
from components.errors import RegistryError
from components.release.card import summarise, write_card
from components.release.champions import check_champion
from components.release.entries import Measured
from components.release.lineage import Release, gather_release
from components.release.registry import CANDIDATE, EVIDENCE, Registry
from components.workspace import Workspace

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
    the gate did not accept the adapter, its decision is stale, or it compared with another champion
    than there is now; `RegistryError` where MLflow fails.
    """
    release = gather_release(workspace)
    registry = Registry(workspace.root)
    check_champion(registry, name, release.decision)
    tags = release.tags()
    identity = {key: tags[key] for key in ("adapter_digest", "evidence_digest", "decision_digest")}
    model = registry.find_model(name)
    known = registry.numbers(name, identity) if model else []
    if known:
        version = known[0]
    else:
        log.info("registering adapter %s as %s", release.decision.adapter[:12], name)
        home = registry.experiment(experiment)
        logged = registry.finished_model(home, identity) or _log_release(
            registry, home, release, name=name, root=workspace.root
        )
        made = registry.create_version(name, logged, release.tags(), summarise(release))
        version = _first(registry, name, made, identity)
    if model is None or model.aliases.get(CANDIDATE) != version:
        _make_candidate(registry, name, version)
    return Registered(name, version, new=not known and made == version)


def _first(registry: Registry, name: str, made: str, identity: Mapping[str, str]) -> str:
    """Return the first version with this identity. Two calls at once make two, and the numbers tell
    both which one stays; the later one is deleted by the call that made it."""
    first = registry.numbers(name, identity)[0]
    if made != first:
        registry.delete_version(name, made)
    return first


def _make_candidate(registry: Registry, name: str, version: str) -> None:
    """Let `candidate` point to a version; raises `RegistryError` where it does not stay there."""
    registry.set_alias(name, CANDIDATE, version)
    found = registry.model(name).aliases.get(CANDIDATE)
    if found != version:
        raise RegistryError(
            f"version {version} of {name} is registered, but version {found} became {CANDIDATE} at "
            "the same time; the same command again makes it the candidate"
        )


def _log_release(registry: Registry, home: str, release: Release, *, name: str, root: Path):
    measured = Measured(
        figures=release.figures(),
        data=release.profile,
        digest=release.decision.data,
        source=(release.prompts.folder / names.PROMPTS).relative_to(root).as_posix(),
    )
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        shutil.copytree(release.adapter.adapter, files / names.ADAPTER)
        evidence = files / EVIDENCE
        evidence.mkdir()
        shutil.copy(release.decision.folder / names.DECISION, evidence)
        shutil.copy(release.evidence.folder / names.METRICS, evidence)
        card = write_card(release, name=name, root=root)
        (evidence / "model_card.md").write_text(card, encoding="utf-8")
        if release.report:
            shutil.copy(release.report, evidence)
        return registry.log_model(
            home, files, measured, tags=release.tags(), parameters=release.parameters()
        )
