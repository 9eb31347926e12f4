"""Where the stages of a profile stand. Nothing is written and no lock is taken, so that it can be
asked while a run works."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from components.chain import STAGES, TABLE, declared_files, dvc_name, split_dvc_name
from components.core.documents import read_yaml
from components.core.errors import ConfigError, StageError
from components.core.fingerprints import Code
from components.core.paths import Workspace, fingerprint_file
from components.inputs import code_of, settings_of
from flows.runner.dvc import lock_remedy
from flows.runner.lock import said_in

_GONE, _CHANGED = "its files are not here", "its files were changed"
_TRIES, _PAUSE_SECONDS = 10, 0.2


class State(StrEnum):
    """How a stage stands."""

    UP_TO_DATE = "up to date"
    STALE = "stale"  # its code, settings, inputs or files changed since it ran
    WAITS = "waits"  # for a stage before it, after which it may be up to date or not
    MISSING = "missing"  # its files are not here; DVC may have them in its cache
    NEVER_RUN = "never run"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage, how it stands, and why."""

    stage: str
    state: State
    why: str = ""


def stage_states(workspace: Workspace) -> list[StageState]:
    """Return how each stage stands, in their order.

    Raises `StageError` where DVC's record cannot be read.
    """
    recorded, changes = _read(workspace)
    running, code = _running(workspace.root), Code(workspace.root)
    states: dict[str, StageState] = {}
    for stage in STAGES:
        entry = recorded.get(dvc_name(stage, workspace.profile))
        changed = changes.get(stage, [])
        reasons = list(_reasons(workspace, stage, entry, changed, code)) if entry else []
        before = [states[each] for each in TABLE[stage].upstream if each in states]
        waited = [each.stage for each in before if each.state is not State.UP_TO_DATE]
        state, why = State.UP_TO_DATE, ""
        if process := running.get(str(workspace.stage(stage))):
            state, why = State.RUNNING, f"process {process}"
        elif entry is None:
            state = State.NEVER_RUN
        elif reasons:
            state = State.MISSING if reasons == [_GONE] else State.STALE
            why = ", ".join(reasons)
        elif waited:
            state, why = State.WAITS, f"for {waited[0]}"
        elif others := list(_other_results(workspace, changed)):
            state, why = State.STALE, f"another result of {', '.join(others)}"
        states[stage] = StageState(stage, state, why)
    return list(states.values())


def running_command(root: Path) -> str:
    """Return which run works in the repository, in words; empty where none does on this machine."""
    holder = said_in(Workspace(root, "").run_lock)
    if holder and holder["host"] == socket.gethostname() and psutil.pid_exists(holder["pid"]):
        return f"{holder['run']}, process {holder['pid']}"
    return ""


def _reasons(
    workspace: Workspace, stage: str, entry: Any, changes: list[Any], code: Code
) -> Iterator[str]:
    """Yield why a stage that ran once is not up to date; results before it are not among that."""
    file = fingerprint_file(Path(), stage).as_posix()
    stored = {dep["path"]: dep.get("md5") for dep in entry.get("deps") or ()}
    now = f"{code_of(TABLE[stage], code)}\n".encode()
    if stored.get(file) != hashlib.md5(now, usedforsecurity=False).hexdigest():
        yield "code"
    settings = workspace.settings.relative_to(workspace.root).as_posix()
    recorded, own = entry.get("params", {}).get(settings, {}), settings_of(workspace)
    if other := [key for key, value in recorded.items() if own.get(key) != value]:
        yield f"profiles/{workspace.profile_file.name} ({', '.join(other)})"
    own_files = (file, settings)
    results = [workspace.stage(each) for each in TABLE]
    for change in changes:
        if not isinstance(change, dict):
            yield str(change).removeprefix("changed ")
            continue
        for path, how in change.get("changed deps", {}).items():
            place = workspace.root / path
            if path not in own_files and not any(map(place.is_relative_to, results)):
                yield f"{path} ({', '.join(how)})" if isinstance(how, dict) else path
        for how in change.get("changed outs", {}).values():
            yield _GONE if how == "deleted" else _CHANGED


def _other_results(workspace: Workspace, changes: list[Any]) -> Iterator[str]:
    """Yield the stages whose results are others than those that a stage has read, as where they ran
    alone."""
    changed = [each.get("changed deps", {}) for each in changes if isinstance(each, dict)]
    places = [workspace.root / path for each in changed for path in each]
    for stage in TABLE:
        if any(place.is_relative_to(workspace.stage(stage)) for place in places):
            yield stage


def _read(workspace: Workspace) -> tuple[Mapping[str, Any], dict[str, list[Any]]]:
    """Return DVC's record of what ran, and by stage what changed since, as `dvc status --json`
    says it.

    DVC gets its locks in a folder of their own: it would refuse to look at what another process
    holds. Raises `StageError` where what is read is being written, again and again.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import make_lock
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # its bars of progress, too
    profile = workspace.profile
    for _ in range(_TRIES):
        try:
            declared = declared_files(workspace.root)  # a stage that is not there yet never ran
            known = (each for each in STAGES if profile in declared or not TABLE[each].named)
            targets = [dvc_name(stage, profile) for stage in known]
            # DVC reads and writes paths relative to where it is asked.
            with TemporaryDirectory() as own, chdir(workspace.root), Repo() as repo:
                repo.tmp_dir = own
                repo.lock = make_lock(str(Path(own) / "lock"), tmp_dir=own)
                status = repo.status(targets=targets)
            lock = read_yaml(workspace.lock) if workspace.lock.is_file() else {}
            changes = {split_dvc_name(name)[0]: each for name, each in status.items()}
            return lock.get("stages") or {}, changes
        except (DvcException, ConfigError, OSError) as error:  # a file is there in part, or gone
            last = error
            time.sleep(_PAUSE_SECONDS)
    said = f"DVC cannot tell what has changed: {last}"
    raise StageError(said + lock_remedy(str(last))) from last


def _running(root: Path) -> dict[str, int]:
    """Return the folders that a DVC process on this machine writes, with its number."""
    try:
        held = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
        writers = {path: holder["pid"] for path, holder in held.get("write", {}).items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}  # none, or it is being written
    return {path: pid for path, pid in writers.items() if psutil.pid_exists(pid)}
