"""What a killed run of the miniature chain consists of, and what is left when it has ended."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from components.chain import STAGES
from components.core.documents import read_yaml
from components.core.paths import ROWS, Workspace
from components.core.storage import digest_file, digest_folder
from tests.chain import environment

PROFILE = "mini"
# The kinds of a run's processes, by a word of their command line. `command` is the supervisor with
# the command that it supervises, which nothing of the system ends together with the others.
WORDS = {"server": "prefect_server.py", "dvc": "dvc", "stage": "components"}
VICTIMS = (*WORDS, "parent", "flow", "command", "all")
_MARK = "SAFEREACT_TEST_MARK"
_PENDING = 1  # the number that MLflow keeps for a logged model that is not finished


class KilledRun:
    """A run of the chain in `root`, whose processes can be told apart and killed."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._mark = uuid.uuid4().hex
        ours = environment(root, **{_MARK: self._mark, "TMPDIR": str(scratch)})
        self._output = (root.parent / "output").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli.main", "run", "--profile", PROFILE],
            cwd=root,
            env=ours,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return Path(self._output.name).read_text(encoding="utf-8")

    def wait(self, seconds: float) -> None:
        """Wait, unless it ends before."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Return the processes that run now, by what may be killed; none: it has ended."""
        if self.process.poll() is not None:
            return {}
        parent = psutil.Process(self.process.pid)
        parts: dict[str, list[psutil.Process]] = {"parent": [parent]}
        below = [(each, words) for each, words in self._commands(parent)]
        flow = [each for each, words in below if "flows.cli.main" in words]
        for kind, word in WORDS.items():
            found = [each for each, words in below if any(Path(w).name == word for w in words)]
            parts[kind] = found
        parts |= {"flow": flow, "command": [parent, *flow]}
        parts["all"] = [parent, *(each for each, _ in below)]
        return {kind: found for kind, found in parts.items() if found}

    @staticmethod
    def _commands(parent: psutil.Process) -> Iterator[tuple[psutil.Process, list[str]]]:
        for each in parent.children(recursive=True):
            with suppress(psutil.Error):
                yield each, each.cmdline()

    def kill(self, victim: str) -> Seconds:
        """Kill what `victim` names and return how long the rest lived on."""
        parts = self.parts()
        server, flow = parts.get("server", []), parts.get("flow", [])
        for process in parts[victim]:
            with suppress(psutil.Error):
                process.kill()
        begin, parent_gone, server_gone = time.monotonic(), 0.0, 0.0
        while time.monotonic() < begin + 180:
            now = time.monotonic() - begin
            if not parent_gone and not _alive(flow):
                parent_gone = now
            if not server_gone and not _alive(server):
                server_gone = now
            if not _alive(parts["all"]) and self.process.poll() is not None:
                break
            time.sleep(0.01)
        outlived = max(server_gone - parent_gone, 0.0) if server and flow else None
        return Seconds(time.monotonic() - begin, outlived)

    def left(self) -> list[list[str]]:
        """Return the command lines of what still runs of all that the run has started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and _alive([process]):
                    found.append(process.cmdline())
        return found


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long anything of a run lived on after the kill, and by how much the embedded server
    outlived its parent, None where there was no server yet."""

    all: float
    server: float | None


def _alive(processes: list[psutil.Process]) -> bool:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


@dataclass(frozen=True, slots=True)
class EndState:
    """What a run leaves behind, without what differs between any two: identifiers and times."""

    outputs: Mapping[str, str]  # digests by stage
    rows: str
    record: Mapping[str, Any]  # dvc.lock
    files: frozenset[str]
    versions: tuple[tuple[str, str], ...]  # number and adapter
    aliases: Mapping[str, str]
    open_runs: Mapping[str, int]
    unfinished_models: int
    scratch: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, scratch: Path) -> EndState:
        """Read the state of a repository and of the folder of its temporary files."""
        workspace = Workspace(root, PROFILE)
        tracked = workspace.tracking_store / "mlflow.db"
        versions = "SELECT v.version, t.value FROM model_versions v JOIN model_version_tags t "
        versions += "ON t.name = v.name AND t.version = v.version WHERE t.key = 'adapter_digest'"
        return cls(
            outputs={stage: digest_folder(workspace.stage(stage)) for stage in STAGES},
            rows=digest_file(workspace.stage("evaluate") / ROWS),
            record=read_yaml(workspace.lock),
            files=frozenset(_files(root)),
            versions=tuple((str(number), adapter) for number, adapter in _ask(tracked, versions)),
            aliases={
                alias: str(number)
                for alias, number in _ask(
                    tracked, "SELECT alias, version FROM registered_model_aliases"
                )
            },
            open_runs=_open_runs(workspace.prefect_home / "prefect.db", tracked),
            unfinished_models=sum(
                status == _PENDING
                for (status,) in _ask(
                    tracked, "SELECT status FROM logged_models WHERE lifecycle_stage = 'active'"
                )
            ),
            scratch=tuple(sorted(path.name for path in scratch.iterdir())),
        )


# Identifiers make other names below these; what is hidden there would be a stray file.
_VARYING = ("mlruns", ".prefect", ".git")


def _files(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        first, *below = path.relative_to(root).parts
        if first in _VARYING:
            counts = first == "mlruns" and any(part.startswith(".") for part in below)
        else:
            counts = path.is_file() and path.suffix != ".pyc"
        if counts:
            yield path.relative_to(root).as_posix()


def _open_runs(prefect: Path, tracked: Path) -> dict[str, int]:
    running = "SELECT 'MLflow' FROM runs WHERE status NOT IN ('FINISHED', 'FAILED', 'KILLED')"
    open_ = "state_type IN ('SCHEDULED', 'PENDING', 'RUNNING', 'CANCELLING')"
    flows = f"SELECT 'flow' FROM flow_run WHERE {open_} AND NOT auto_scheduled"
    tasks = f"SELECT 'task' FROM task_run WHERE {open_}"
    found = [*_ask(tracked, running), *_ask(prefect, flows), *_ask(prefect, tasks)]
    return dict(Counter(kind for (kind,) in found))


def _ask(database: Path, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
