"""Ended from outside: one line, the documented exit code, nothing left, and the run can go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx2
import psutil
import pytest

from components.core.paths import Workspace
from flows.runner.lock import one_run
from tests.flows.conftest import PROFILE, behave, safereact
from tests.terminal import Session

SECONDS = 20.0  # on a busy machine; a stage would sleep for 60
WAYS: dict[str, tuple[Callable[[Session], None], int]] = {
    "control-c": (lambda session: session.press(b"\x03"), 130),
    "control-c again and again": (lambda session: [session.press(b"\x03") for _ in "12345"], 130),
    "control-backslash": (lambda session: session.press(b"\x1c"), 131),
    "the terminal is closed": (Session.close, 129),
    "TERM to the parent": (lambda session: session.process.terminate(), 143),
    "TERM to the group": (
        lambda session: os.killpg(session.process.pid, signal.SIGTERM),
        143,
    ),
}


def end(session: Session, way: str, *, done_perhaps: bool = False) -> None:
    """End a command in a way of `WAYS`; one line, its code, in time, and nothing is left of it.

    `done_perhaps`: it may have come to its own end meanwhile.
    """
    press, code = WAYS[way]
    press(session)
    ended, errors, seconds = session.ended()
    if done_perhaps and (ended, errors) == (0, ""):
        return
    assert (ended, errors.count("\n")) == (code, 1), (errors, session.output[-1000:])
    assert errors.startswith("safereact: ") and "the next run goes on" in errors
    assert seconds < SECONDS and session.left() == []


def states(prefect_home: Path) -> set[str]:
    """Return the states of all runs that the embedded server knows, but of those that a deployment
    has for the days to come."""
    with sqlite3.connect(prefect_home / "prefect.db") as database:
        kinds = database.execute(
            "SELECT state_type FROM flow_run WHERE NOT auto_scheduled "
            "UNION SELECT state_type FROM task_run"
        )
        return {kind for (kind,) in kinds}


def sleeps(project: Workspace) -> Callable[[], bool]:
    mark = project.root / "sleeping"
    return lambda: mark.is_file() and bool(mark.read_text())


FAST = "control-c again and again"


@pytest.mark.parametrize(
    "way", [way if way == FAST else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_a_run_that_is_ended_within_a_stage(project: Workspace, prefect_home, way):
    behave(project, "prepare", "sleep")
    session = Session("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    end(session, way)
    assert states(prefect_home) <= {"CRASHED", "CANCELLED", "FAILED", "COMPLETED"}
    with one_run(project.root, "the next run"):
        pass
    assert list(project.stage("prepare").parent.glob("*")) == []


def embedded_runs(home: Path) -> list[str]:
    """Return the states of the flow's runs that the embedded server knows, oldest first."""
    with sqlite3.connect(home / "prefect.db") as database:
        found = database.execute("SELECT state_type FROM flow_run ORDER BY created")
        return [kind for (kind,) in found]


def test_a_run_whose_reader_is_gone(project: Workspace):
    behave(project, "prepare", "sleep")
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "flows.cli.main", "run", "--profile", PROFILE]
    run = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    os.read(reader, 1)  # as `head -1` does
    os.close(reader)
    begin = time.monotonic()
    _, errors = run.communicate(timeout=50)
    assert (run.returncode, errors.count("\n")) == (141, 1), errors
    assert time.monotonic() - begin < SECONDS
    with one_run(project.root, "the next run"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["the supervisor", "the command"])
def test_a_run_that_is_killed_outright_is_set_to_crashed_by_the_next(
    project: Workspace, prefect_home, whose
):
    known = prefect_home / "prefect.db"
    before = len(embedded_runs(prefect_home)) if known.exists() else 0
    behave(project, "prepare", "sleep")
    session = Session("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    (child,) = psutil.Process(session.process.pid).children()
    (session.process if whose == "the supervisor" else child).kill()
    code, errors, seconds = session.ended()
    assert seconds < SECONDS
    assert code == (-9 if whose == "the supervisor" else 137)
    assert whose == "the supervisor" or "killed by signal 9" in errors
    latest = time.monotonic() + SECONDS
    while session.left() and time.monotonic() < latest:
        time.sleep(0.1)
    assert session.left() == []
    assert embedded_runs(prefect_home)[before:] == ["RUNNING"]
    behave(project, "prepare", "do")
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
    assert embedded_runs(prefect_home)[before:] == ["CRASHED", "COMPLETED"]
    assert "RUNNING" not in states(prefect_home)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["control-c again and again", "TERM to the group"])
def test_a_run_on_a_server_that_is_ended(project: Workspace, server, way, monkeypatch):
    def kinds() -> list[str]:
        runs = httpx2.post(f"{server}/flow_runs/filter", json={"sort": "START_TIME_ASC"}).json()
        return [run["state"]["type"] for run in runs]

    before = len(kinds())
    behave(project, "prepare", "sleep")
    monkeypatch.setenv("PREFECT_API_URL", server)
    session = Session("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    assert kinds()[before:] == ["RUNNING"]
    end(session, way)
    assert kinds()[before:] == ["CRASHED"]


COMMANDS = ("run", "compare", "withstand", "seeds", "tune", "status", "doctor")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_ended_at_some_moment(project: Workspace, prefect_home, command):
    random = Random(command)
    behave(project, "models", "sleep")
    for _ in range(6):
        (project.root / "sleeping").unlink(missing_ok=True)
        session = Session(command, "--profile", PROFILE)
        # Python itself must have begun; what a signal does to it before is not ours to say.
        time.sleep(0.3 + random.expovariate(1 / 4))
        if session.process.poll() is None:
            end(session, random.choice(list(WAYS)), done_perhaps=True)
        if (prefect_home / "prefect.db").exists():
            assert "RUNNING" not in states(prefect_home)
        with one_run(project.root, "the next run"):
            pass
    behave(project, "models", "do")
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
