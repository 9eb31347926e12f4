"""What a version was made from beside data and models: kept with it, and put back into a clone.

DVC keeps what stages write and git what a commit holds. With a version's evidence go the rest: its
profile and policy, whatever else decides results and is in no commit, which champion was measured,
and what `dvc.lock` says of its stages. Code is git's alone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from components.chain import STAGES, dvc_name, split_dvc_name
from components.core.documents import read_yaml
from components.core.errors import EvidenceError, RegistryError
from components.core.paths import (
    ADAPTER,
    CHAMPION,
    CHAMPIONS,
    DECIDING,
    POLICIES,
    PROFILE_NAME,
    ROWS,
    Workspace,
)
from components.core.result import Result
from components.core.run_record import beside_commit, differing, git_commit
from components.core.storage import (
    EVERYBODY,
    atomic_path,
    digest_file,
    digest_folder,
    write_json,
    write_text,
)
from components.declared_inputs import declare_files
from components.evaluate.result import Champion, Evidence
from components.gate.result import Decision
from components.inputs import keep_folder
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry.current import Current
from components.registry.delivery import bring_released
from components.registry.mlflow_registry import EVIDENCE, Registry, Version
from components.registry.verification import Verified
from components.train.result import Adapter

SOURCES = "sources"  # folder within a version's evidence
_RESULTS: dict[str, type[Result]] = {
    "prepare": SuiteSet,
    "models": Models,
    "train": Adapter,
    "evaluate": Evidence,
    "gate": Decision,
}
_COMMIT = re.compile("[0-9a-f]{40,64}")
PUSHED = "pushed"  # the tag that says whether DVC's remote has what a version rests on
NOT_PUSHED, IS_PUSHED = "no", "yes"
# What decides results as data. Code, and the template that is run as code, come from git.
_DATA = tuple(
    path for path in DECIDING if path not in ("components", "dvc.yaml", "mlflow/model_card.md.j2")
)


def keep_sources(current: Current, evidence: Path) -> None:
    """Write what a workspace's version was made from into its evidence."""
    workspace, root = current.workspace, current.workspace.root
    own = (workspace.profile_file, root / POLICIES / f"{current.profile.gate.policy}.yaml")
    kept = {*own, *(root / name for name in beside_commit(root, _DATA))}
    champion = workspace.champion / CHAMPION
    for path in sorted({*kept, *([champion] if champion.is_file() else [])}):
        target = evidence / SOURCES / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    lock = {"schema": "2.0", "stages": _entries(workspace.lock, workspace.profile)}
    write_json(evidence / SOURCES / workspace.lock.name, lock)


def _entries(lock: Path, profile: str) -> dict[str, Any]:
    """Return what a `dvc.lock` says of the stages of a profile."""
    stages = (read_yaml(lock).get("stages") or {}) if lock.is_file() else {}
    return {name: stages[name] for s in STAGES if (name := dvc_name(s, profile)) in stages}


def put_back(registry: Registry, version: Version, files: Path) -> Workspace:
    """Put what a version was made from, whose files lie verified in `files`, into the repository of
    `registry`, and the champion that it was compared with; return its workspace.

    Raises `EvidenceError` where the repository is at another commit or has something else in its
    place, and `RegistryError` for a version that keeps no such files; then nothing was written.
    """
    root, profile = registry.root, version.tags.get("profile", "")
    workspace, sources = Workspace(root, profile), files / EVIDENCE / SOURCES
    if not PROFILE_NAME.fullmatch(profile) or not (sources / workspace.lock.name).is_file():
        raise RegistryError(
            f"{version} keeps no profile, policy and {workspace.lock.name}: it was not "
            "registered by `safereact run`. Restore the repository from a backup of that day, or "
            "register the adapter anew with `safereact run --push`"
        )
    _check_commit(version, root)
    kept = {path: root / path.relative_to(sources) for path in _kept(sources, workspace)}
    if different := [*_different(kept, root), *_other_results(sources, workspace)]:
        raise EvidenceError(
            f"{version} has something else than this repository: {', '.join(different)}. Nothing "
            "was written; move these away, and run the same command again"
        )
    for source, target in kept.items():
        if not target.is_file():
            with atomic_path(target, mode=EVERYBODY) as scratch:
                shutil.copyfile(source, scratch)
    _write_lock(sources, workspace)
    declare_files(root)
    keep_folder(workspace.champion)
    if (sources / CHAMPIONS / profile / CHAMPION).is_file():
        bring_released(registry, Champion.load(workspace.champion))
    return workspace


def _check_commit(version: Version, root: Path) -> None:
    stated, (here, _) = version.tags.get("git_commit", "none"), git_commit(root)
    if stated in ("none", here):  # of a version made outside of git nothing can be said
        return
    known = here and _COMMIT.fullmatch(stated)  # git would take another text for an option
    files = differing(root, stated, DECIDING) if known else None
    found = (
        "which this repository does not have; `git fetch` first"
        if files is None
        else (
            f"and this repository is at {here}, which differs in "
            f"{', '.join(files) or 'nothing that decides results'}"
        )
    )
    raise EvidenceError(
        f"{version} was made at commit {stated}, {found}. Nothing was written; in a fresh clone, "
        f"`git checkout {stated}`, and run the same command there"
    )


def _kept(sources: Path, workspace: Workspace) -> Iterator[Path]:
    """Yield the kept files but for the lock; raises `EvidenceError` for one in a place of others,
    such as code, which whoever can write to the registry could put there."""
    champion = PurePosixPath(CHAMPIONS, workspace.profile, CHAMPION)
    for path in sorted(sources.rglob("*")):
        name = PurePosixPath(path.relative_to(sources).as_posix())
        if path.is_dir() or name.as_posix() == workspace.lock.name:
            continue
        if name != champion and not any(name.is_relative_to(place) for place in _DATA):
            raise EvidenceError(f"{EVIDENCE}/{SOURCES}/{name} is no place of settings or data")
        yield path


def _different(kept: dict[Path, Path], root: Path) -> Iterator[str]:
    for source, target in kept.items():
        if target.exists() and (not target.is_file() or digest_file(target) != digest_file(source)):
            yield target.relative_to(root).as_posix()


def _other_results(sources: Path, workspace: Workspace) -> Iterator[str]:
    """Yield entries of the repository's lock that say something else than the version's, and
    folders of results that are in no entry."""
    profile, lock = workspace.profile, workspace.lock
    here = _entries(lock, profile)
    for name, entry in _entries(sources / lock.name, profile).items():
        folder = workspace.stage(split_dvc_name(name)[0])
        if name in here and here[name] != entry:
            yield f"{lock.name} ({name})"
        elif name not in here and folder.exists():
            yield folder.relative_to(workspace.root).as_posix()


def _write_lock(sources: Path, workspace: Workspace) -> None:
    lock = workspace.lock
    entries, here = _entries(sources / lock.name, workspace.profile), {}
    if lock.is_file():
        here = read_yaml(lock)
    if entries.keys() - (here.get("stages") or {}).keys():
        whole = {"schema": "2.0", **here, "stages": {**(here.get("stages") or {}), **entries}}
        write_text(lock, json.dumps(whole, indent=2) + "\n", mode=EVERYBODY)


def check_restored(workspace: Workspace, verified: Verified) -> None:
    """Raise `EvidenceError` naming what lies in a workspace and is not what the version states:
    results, rows, adapter, and checkpoints that the chain built, each by its SHA-256."""
    from components.lm.weights import digest_checkpoint  # loads transformers

    evaluated, stated = workspace.stage("evaluate"), verified.evidence.folder
    models, adapter = Models.load(workspace.stage("models")), workspace.stage("train") / ADAPTER
    found = {
        workspace.stage(stage) / kind.FILE: (
            kind.digest_of(workspace.stage(stage)),
            kind.digest_of(stated),
        )
        for stage, kind in _RESULTS.items()
    }
    found[evaluated / ROWS] = (Evidence.load(evaluated).rows_now(), verified.evidence.rows)
    found[adapter] = (digest_folder(adapter), verified.decision.adapter)
    for ref in filter(None, (models.base, models.post_trained, models.ancestor)):
        folder = models.folder / ref.location
        if ref.where == "stage" and folder.is_dir():  # DVC knows what has to be there
            found[folder] = (digest_checkpoint(folder), ref.digest)
    wrong = [path for path, (here, there) in found.items() if here != there]
    if wrong:
        names = ", ".join(path.relative_to(workspace.root).as_posix() for path in wrong)
        raise EvidenceError(
            f"{names}: DVC brought something else than the version states. Do not use it; what "
            "the version's adapter and evidence are, `safereact pull --whole` brings"
        )
