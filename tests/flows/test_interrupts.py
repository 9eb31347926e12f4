"""Ended from outside: one line, the documented exit code, nothing left, and the run can go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from components.workspace import Workspace
from flows.lock import one_run
from tests.flows.conftest import PROFILE, behave, safereact
from tests.terminal import Session

SECONDS = 5.0
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


def end(session: Session, way: str) -> None:
    """End a command in a way of `WAYS`; one line, its code, in time, and nothing is left of it."""
    press, code = WAYS[way]
    press(session)
    ended, errors, seconds = session.ended()
    assert (ended, errors.count("\n")) == (code, 1), (errors, session.output)
    assert errors.startswith("safereact: ") and "the next run goes on" in errors
    assert seconds < SECONDS and session.left() == []


def states(prefect_home: Path) -> set[str]:
    """Return the states of all runs that the embedded server knows."""
    with sqlite3.connect(prefect_home / "prefect.db") as database:
        kinds = database.execute(
            "SELECT state_type FROM flow_run UNION SELECT state_type FROM task_run"
        )
        return {kind for (kind,) in kinds}


def sleeps(project: Workspace) -> Callable[[], bool]:
    mark = project.root / "sleeping"
    return lambda: mark.is_file() and bool(mark.read_text())


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    return tmp_path / "prefect"


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


COMMANDS = ("run", "compare", "withstand", "seeds", "tune", "status", "doctor")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_ended_at_some_moment(project: Workspace, own_home, command):
    random = Random(command)
    behave(project, "models", "sleep")
    for _ in range(6):
        (project.root / "sleeping").unlink(missing_ok=True)
        session = Session(command, "--profile", PROFILE)
        # Python itself must have begun; what a signal does to it before is not ours to say.
        time.sleep(0.3 + random.expovariate(1 / 4))
        if session.process.poll() is None:
            end(session, random.choice(list(WAYS)))
        if (own_home / "prefect.db").exists():
            assert "RUNNING" not in states(own_home)
        with one_run(project.root, "the next run"):
            pass
    behave(project, "models", "do")
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
