"""Ended from outside: one line, the documented exit code, nothing left, and the run can go on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import httpx2
import psutil
import pytest

from components.core.paths import Workspace
from flows.cli import main
from flows.cli.commands import app
from flows.runner.lock import one_run
from tests.flows.conftest import PROFILE, behave, safereact
from tests.terminal import Session

SECONDS = 120.0  # on a busy machine; a stage would sleep for 600
GONE = "the terminal is closed"
WAYS: dict[str, tuple[Callable[[Session], None], int]] = {
    "control-c": (lambda session: session.press(b"\x03"), 130),
    "control-c again and again": (lambda session: [session.press(b"\x03") for _ in "12345"], 130),
    "control-backslash": (lambda session: session.press(b"\x1c"), 131),
    GONE: (Session.close, 129),
    "TERM to the parent": (lambda session: session.process.terminate(), 143),
    "TERM to the group": (
        lambda session: os.killpg(session.process.pid, signal.SIGTERM),
        143,
    ),
}
ENDED = {"CRASHED", "CANCELLED", "FAILED", "COMPLETED"}


@pytest.fixture
def start() -> Iterator[Callable[..., Session]]:
    """A function that starts a command in a terminal; what is left of it ends with the test."""
    sessions: list[Session] = []

    def begin(*words: str, **settings: str) -> Session:
        sessions.append(Session(*words, **settings))
        return sessions[-1]

    yield begin
    for process in [process for session in sessions for process in session.left()]:
        process.kill()


def end(session: Session, way: str, *, done_perhaps: bool = False, resumes: bool = True) -> None:
    """End a command in a way of `WAYS`; one line, its code, in time, and nothing is left of it.

    `done_perhaps`: it may have come to its own end meanwhile. What `resumes` says so.
    """
    press, code = WAYS[way]
    press(session)
    ended, errors, seconds = session.ended()
    if done_perhaps and (ended, errors) == (0, ""):
        return
    assert (ended, errors.count("\n")) == (code, 1), (errors, session.output[-1000:])
    assert errors.startswith("safereact: ") and ("the next run goes on" in errors) == resumes
    assert seconds < SECONDS and session.left() == []


def states(home: Path) -> dict[str, str]:
    """Return the state of each run and task, by its id, that the embedded server knows, but of
    those that a deployment has for the days to come."""
    if not (home / "prefect.db").exists():
        return {}
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        return dict(
            database.execute(
                "SELECT id, state_type FROM flow_run WHERE NOT auto_scheduled "
                "UNION SELECT id, state_type FROM task_run"
            )
        )


def new_runs(home: Path, before: dict[str, str]) -> list[str]:
    """Return the states of the flow's runs that are not among `before`, oldest first."""
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        found = database.execute("SELECT id, state_type FROM flow_run ORDER BY created")
        return [state for key, state in found if key not in before]


def new_states(home: Path, before: dict[str, str]) -> list[str]:
    """Return the states of those that are not among `before`."""
    return [state for key, state in states(home).items() if key not in before]


def sleeps(project: Workspace) -> Callable[[], bool]:
    mark = project.root / "sleeping"
    return lambda: mark.is_file() and bool(mark.read_text())


# A command that is at work for ever, and one that no interrupt reaches.
AT_WORK = """
import sys, time
from pathlib import Path
from flows.runner.supervisor import supervised

def work():
    Path(sys.argv[1]).touch()
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            if "deaf" not in sys.argv:
                raise

sys.exit(supervised(work, resumes="shows" not in sys.argv))
"""


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_end_a_command(tmp_path, start, way):
    session = start(str(tmp_path / "begun"), code=AT_WORK)
    session.wait_for((tmp_path / "begun").exists)
    end(session, way)


@pytest.mark.parametrize("way", ["control-c", GONE])
def test_what_only_shows_things_does_not_say_that_it_goes_on(tmp_path, start, way):
    session = start(str(tmp_path / "begun"), "shows", code=AT_WORK)
    session.wait_for((tmp_path / "begun").exists)
    end(session, way, resumes=False)


@pytest.mark.parametrize(
    ("words", "resumes"),
    [
        ("run --profile tiny", True),
        ("tune", True),
        ("label --profile run", True),
        *((f"{word} --port 5001", False) for word in ("ui", "serve", "chat", "view", "status")),
        ("--version", False),
        ("", False),
    ],
)
def test_the_command_says_whether_it_goes_on(monkeypatch, words, resumes):
    asked = []
    monkeypatch.setattr(main, "supervised", lambda _, **how: asked.append(how) or 0)
    monkeypatch.setattr(sys, "argv", ["safereact", *words.split()])
    with pytest.raises(SystemExit):
        main.main()
    assert asked == [{"resumes": resumes}]
    assert {one.callback.__name__ for one in app.registered_commands} >= main.RESUMED


def test_a_command_that_does_not_end_by_itself_is_ended(tmp_path, start):
    session = start(str(tmp_path / "begun"), "deaf", code=AT_WORK)
    session.wait_for((tmp_path / "begun").exists)
    end(session, "TERM to the parent")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(w, marks=pytest.mark.slow)
        for w in ("control-c again and again", GONE, "TERM to the group")
    ],
)
def test_a_run_that_is_ended_within_a_stage(project: Workspace, prefect_home, start, way):
    before = states(prefect_home)
    behave(project, "prepare", "sleep")
    session = start("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    end(session, way)
    assert set(new_states(prefect_home, before)) <= ENDED
    with one_run(project.root, "the next run"):
        pass
    assert list(project.stage("prepare").parent.glob("*")) == []


@pytest.mark.slow
def test_a_run_whose_reader_is_gone(project: Workspace):
    behave(project, "prepare", "sleep")
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "flows.cli.main", "run", "--profile", PROFILE]
    run = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    os.read(reader, 1)  # as `head -1` does
    os.close(reader)
    begin = time.monotonic()
    _, errors = run.communicate(timeout=150)
    assert (run.returncode, errors.count("\n")) == (141, 1), errors
    assert time.monotonic() - begin < SECONDS
    with one_run(project.root, "the next run"):
        pass


@pytest.mark.slow
def test_a_run_that_is_killed_outright_is_set_to_crashed_by_the_next(
    project: Workspace, prefect_home, start
):
    """First the supervisor is killed, and in the next run the command that it supervises."""
    before = states(prefect_home)
    behave(project, "prepare", "sleep")
    for killed in ([], ["CRASHED"]):
        (project.root / "sleeping").unlink(missing_ok=True)
        session = start("run", "--profile", PROFILE)
        session.wait_for(sleeps(project))
        (child,) = psutil.Process(session.process.pid).children()
        (child if killed else session.process).kill()
        code, errors, seconds = session.ended()
        assert seconds < SECONDS
        assert code == (137 if killed else -9)
        assert not killed or "killed by signal 9" in errors
        latest = time.monotonic() + SECONDS
        while session.left() and time.monotonic() < latest:
            time.sleep(0.1)
        assert session.left() == []
        assert new_runs(prefect_home, before) == [*killed, "RUNNING"]
    behave(project, "prepare", "fail in the next run")
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 1 and "in the next run" in done.stderr
    assert new_runs(prefect_home, before)[:2] == ["CRASHED", "CRASHED"]
    assert "RUNNING" not in new_states(prefect_home, before)


@pytest.mark.slow
def test_a_run_whose_embedded_server_is_killed_ends_at_once_and_is_set_to_crashed_by_the_next(
    project: Workspace, prefect_home, start
):
    before = states(prefect_home)
    behave(project, "prepare", "sleep")
    session = start("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    (server,) = (p for p in session.left() if "prefect_server.py" in " ".join(p.cmdline()))
    server.kill()
    code, errors, seconds = session.ended()
    assert (code, errors.count("\n")) == (1, 1) and "server was killed" in errors
    assert seconds < SECONDS and session.left() == []
    behave(project, "prepare", "fail in the next run")
    assert "in the next run" in safereact("run", "--profile", PROFILE).stderr
    assert new_runs(prefect_home, before)[0] == "CRASHED"


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_registered_is_set_to_crashed_by_the_next(
    finished: Workspace, prefect_home, start
):
    """No stage is left then, so that the next run would need no server."""
    before = states(prefect_home)
    shutil.rmtree(finished.stage("report"))
    session = start("run", "--profile", PROFILE)
    session.wait_for(lambda: "recording the decision" in session.output)
    session.process.kill()
    session.ended()
    assert new_runs(prefect_home, before) == ["RUNNING"]
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
    assert new_runs(prefect_home, before) == ["CRASHED", "COMPLETED"]
    assert not finished.open_run.exists()


@pytest.mark.slow
def test_a_run_on_a_server_that_is_ended(project: Workspace, server, start, monkeypatch):
    def kinds() -> list[str]:
        runs = httpx2.post(f"{server}/flow_runs/filter", json={"sort": "START_TIME_ASC"}).json()
        return [run["state"]["type"] for run in runs]

    behave(project, "prepare", "sleep")
    monkeypatch.setenv("PREFECT_API_URL", server)
    session = start("run", "--profile", PROFILE)
    session.wait_for(sleeps(project))
    assert kinds() == ["RUNNING"]
    end(session, "control-c")
    assert kinds() == ["CRASHED"]


# In another order and at other moments each time.
COMMANDS = ("run", "run", "compare", "withstand", "seeds", "tune", "status", "doctor")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_that_are_ended_at_some_moment(project: Workspace, prefect_home, start, request):
    random = Random(request.config.getoption("random_order_seed"))
    before = states(prefect_home)
    behave(project, "models", "sleep")
    for command in random.sample(COMMANDS, len(COMMANDS)):
        session = start(command, "--profile", PROFILE)
        # Python itself must have begun; what a signal does to it before is not ours to say.
        time.sleep(0.3 + random.expovariate(1 / 4))
        if session.process.poll() is None:
            end(session, random.choice(list(WAYS)), done_perhaps=True)
        assert set(new_states(prefect_home, before)) <= ENDED, command
        with one_run(project.root, "the next run"):
            pass
    behave(project, "models", "do")
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 0, done.stderr
