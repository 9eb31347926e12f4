"""DVC's remote: what a registered version rests on goes there, and comes back from there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from components.chain import STAGES, dvc_name
from components.core.documents import read_yaml
from components.core.errors import ConfigError, EvidenceError, RegistryError
from components.core.paths import INPUTS_FOLDER, Workspace
from components.core.run_record import untracked
from components.core.untrusted_text import visible
from components.profile import load_profile
from flows.runner.dvc import call_dvc, stale_stages
from flows.runner.lock import one_run

if TYPE_CHECKING:
    from components.registry.mlflow_registry import Registry, Version
    from components.registry.registration import Registered

_LINES = 3  # of what DVC said that an error repeats at most
_SAID = ("ERROR: ", "WARNING: ")


class Restored(NamedTuple):
    """A version whose files are in the repository, its profile, and the stages that are stale."""

    version: Version
    workspace: Workspace
    stale: list[str]


def pushes(workspace: Workspace, *, asked: bool) -> bool:
    """Return whether a registered version of the profile is to be pushed.

    Raises `ConfigError`, before anything is spent, where DVC has no remote for it.
    """
    if not (asked or load_profile(workspace.profile_file).registration.push):
        return False
    if not call_dvc(workspace, "config", "core.remote").stdout.strip():
        raise ConfigError(
            "DVC has no default remote to push to; `dvc remote add --default NAME ADDRESS` names "
            "one, a folder or s3://BUCKET/FOLDER"
        )
    return True


def push_version(workspace: Workspace, registered: Registered) -> str:
    """Push what a registered version rests on to DVC's remote, and note it with the version; return
    in words what the remote has.

    What the remote has already is not pushed again, so a push that failed goes on. Raises
    `RegistryError` where DVC cannot push all of it; the version stays registered, and not pushed.
    """
    from components.registry.mlflow_registry import Registry
    from components.registry.sources import IS_PUSHED, NOT_PUSHED, PUSHED

    registry = Registry(workspace.root)
    version = registry.version(registered.name, registered.version)
    try:
        _push(workspace)
    except RegistryError as error:
        if version.tags.get(PUSHED) != NOT_PUSHED:
            registry.set_version_tag(version, PUSHED, NOT_PUSHED)
        raise RegistryError(
            f"{version} is registered and not pushed: {error}; the same command again pushes what "
            "is missing"
        ) from error
    lacking = sorted(_nowhere(workspace))
    state = IS_PUSHED if not lacking else f"{IS_PUSHED}, without {', '.join(lacking)}"
    if version.tags.get(PUSHED) != state:
        registry.set_version_tag(version, PUSHED, state)
    hint = "; neither git nor DVC has these: `dvc add` or `git add` them" if lacking else ""
    return f"pushed: {state}{hint}"


def _push(workspace: Workspace) -> None:
    """Bring all that DVC keeps of a profile to its remote; raise `RegistryError` where it does not
    come there whole.

    DVC takes the files of a folder to be there where the list of them is, and what the cache here
    lacks to be no failure. So the remote is asked for every file.
    """
    done = call_dvc(workspace, "push", *_targets(workspace))
    if done.returncode != 0:
        raise RegistryError(f"{_said(done)}. Mend the remote (`dvc remote list` names it)")
    if lost := _not_in_remote(workspace):
        _send(workspace, lost)
        if lost := _not_in_remote(workspace):
            raise RegistryError(
                f"DVC's remote lacks {', '.join(lost[:_LINES])}{' and more' * (len(lost) > _LINES)}"
                ", and so does its cache here (`dvc cache dir`): bring the file back from a backup "
                "and `dvc commit` it, or let its stage run again (`dvc repro --force`)"
            )


def _not_in_remote(workspace: Workspace) -> list[str]:
    found = _data_status(workspace, "--not-in-remote").get("not_in_remote", [])
    return sorted(path for path in found if _is_kept(workspace, path))


def _send(workspace: Workspace, paths: Sequence[str]) -> None:
    """Copy files from DVC's cache, as far as it has them, to its remote."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(workspace.root)) as repo:
            cache, remote, index = repo.cache.local, repo.cloud.get_remote_odb(), repo.index
            for path in paths:
                oid = index.data["repo"][Path(path).parts].hash_info.value
                if cache.exists(oid):
                    remote.add(cache.oid_to_path(oid), cache.fs, oid)
    except (DvcException, OSError) as error:
        raise RegistryError(
            f"{visible(str(error))}. Mend the remote (`dvc remote list` names it)"
        ) from error


def _data_status(workspace: Workspace, *options: str, state: Path | None = None) -> dict[str, Any]:
    """Return what DVC says of each file that it keeps."""
    words = ("data", "status", "--granular", "--json", *options)
    found = call_dvc(workspace, *words, state=state)
    if found.returncode != 0:
        raise RegistryError(f"dvc data status: {_said(found)}")
    return dict(json.loads(found.stdout))


def _targets(workspace: Workspace) -> list[str]:
    """Return what DVC keeps of a profile: its stages, and what they read and `dvc add` took up."""
    own = [dvc_name(stage, workspace.profile) for stage in STAGES]
    return [*own, *_all_added(workspace)]


def _all_added(workspace: Workspace) -> list[str]:
    added = (file for path in _read(workspace) if (file := _added(workspace.root, path)))
    return sorted(set(added))


def _is_kept(workspace: Workspace, path: str) -> bool:
    """Return whether a path is within what DVC keeps of a profile."""
    own = [workspace.stage(stage).relative_to(workspace.root) for stage in STAGES]
    places = [*own, *(Path(file).with_suffix("") for file in _all_added(workspace))]
    return any(Path(path).is_relative_to(place) for place in places)


def _read(workspace: Workspace) -> set[str]:
    """Return what the stages of a profile read and none of them, nor the registry, brings."""
    stages = read_yaml(workspace.lock)["stages"]
    names = (dvc_name(stage, workspace.profile) for stage in STAGES)
    entries = [stages[name] for name in names if name in stages]
    written = [INPUTS_FOLDER, workspace.champion.relative_to(workspace.root).as_posix()]
    written += [out["path"] for entry in entries for out in entry.get("outs") or ()]
    read = {dep["path"] for entry in entries for dep in entry.get("deps") or ()}
    return {path for path in read if not any(Path(path).is_relative_to(out) for out in written)}


def _added(root: Path, path: str) -> str | None:
    """Return the file by which `dvc add` keeps a path or a folder around it."""
    files = (f"{place}.dvc" for place in (Path(path), *Path(path).parents[:-1]))
    return next((file for file in files if (root / file).is_file()), None)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last lines in which DVC says what went wrong."""
    lines = [visible(line).strip() for line in done.stderr.splitlines()]
    errors = [line for line in lines if line.startswith(_SAID)] or [line for line in lines if line]
    told = [line.removeprefix(_SAID[0]).removeprefix(_SAID[1]) for line in errors[-_LINES:]]
    return "; ".join(told) or "DVC said nothing"


def _nowhere(workspace: Workspace) -> Iterator[str]:
    """Yield what stages of the profile read that neither git nor DVC keeps."""
    root = workspace.root
    for path in _read(workspace):
        if (root / path).is_relative_to(root) and ".." not in Path(path).parts:
            yield from untracked(root, [_added(root, path) or path])
        else:
            yield path


def restore_version(registry: Registry, name: str, alias: str) -> Restored:
    """Bring into the repository what a version rests on: from the registry what it keeps, and from
    DVC's remote what its stages wrote; verify all of it by the digests that the version states.

    What is there already stays, so that a restoration that was killed goes on. Raises
    `EvidenceError` or `RegistryError` where the repository has something else in its place, the
    remote lacks a file or has another one.
    """
    from components.registry.delivery import find_version
    from components.registry.sources import check_restored, put_back
    from components.registry.verification import verify_version

    with one_run(registry.root, f"restore {name}@{alias}"), TemporaryDirectory() as scratch:
        version = find_version(registry, name, alias)
        verified = verify_version(registry, version, Path(scratch))
        workspace = put_back(registry, version, Path(scratch))
        _pull(workspace, version)
        check_restored(workspace, verified)
        return Restored(version, workspace, sorted(stale_stages(workspace)))


def _pull(workspace: Workspace, version: Version) -> None:
    """Let DVC bring what the stages of a version wrote, and what they read and `dvc add` took up,
    and compare every file with what `dvc.lock` and git have of it."""
    done = call_dvc(workspace, "pull", *_targets(workspace))
    if done.returncode != 0:
        from components.registry.sources import PUSHED

        raise RegistryError(
            f"what {version} rests on did not come whole (tag {PUSHED} = "
            f"{version.tags.get(PUSHED, 'none')}): {_said(done)}. Where the remote lacks a file, "
            "`safereact run --push` in a repository that has it brings it there; what is here "
            "stays, and the same command again goes on"
        )
    # In a state of its own DVC reads every file, in place of believing what it noted of it.
    with TemporaryDirectory() as state:
        found = _data_status(workspace, state=Path(state))
    wrong = [
        path
        for paths in found.get("uncommitted", {}).values()
        for path in paths
        if not path.endswith("/") and _is_kept(workspace, path)
    ]
    if wrong:
        raise EvidenceError(
            f"{', '.join(sorted(wrong))}: not what {version} states; the copy in DVC's remote, or "
            "in its cache here (`dvc cache dir`), was changed. Remove the file and both copies, "
            "and push again from a repository that has it"
        )
