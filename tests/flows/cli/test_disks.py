"""No room, no permission: one message that names the place, and nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from components.core.paths import Workspace
from tests.chain import make_repository
from tests.disks import full, read_only
from tests.flows.conftest import PROFILE, behave, invoke, safereact
from tests.root import ROOT

_late = partial(pytest.param, marks=pytest.mark.slow)
# Where DVC or a stage writes, it is known only once some stages ran.
NO_ROOM = (".prefect", "mlruns", _late(".dvc/tmp"), _late("data/prepared"))
NO_PERMISSION = (".prefect", "mlruns", _late("artifacts"))
COMMANDS = {
    "run": ("run",),
    "compare": ("compare",),
    "withstand": ("withstand",),
    "seeds": ("seeds", "--seeds", "1"),
    "tune": ("tune",),
}


def is_reported(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Hold that a command failed with one line that has these words in it."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("safereact: "), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.fixture
def own_home(project: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PREFECT_HOME", str(project.prefect_home))
    return project


@pytest.mark.parametrize("place", NO_ROOM)
def test_a_run_without_room_names_the_place(own_home: Workspace, place):
    with full(own_home.root / place):
        is_reported(safereact("run", "--profile", PROFILE), "there is no room", place)


@pytest.mark.slow
def test_a_report_without_room_does_not_hide_what_was_registered(own_home: Workspace):
    with full(own_home.full_report.parent):
        done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 1 and "there is no room" in done.stderr, done.stderr
    assert "registered: demo-safety version 1" in done.stdout


def test_a_report_without_room_does_not_hide_that_the_gate_said_no(own_home: Workspace):
    behave(own_home, "gate", "reject")
    with full(own_home.full_report.parent):
        done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "The gate said no: rejected" in done.stdout
    assert "safereact: the report was not written: there is no room" in done.stderr


@pytest.mark.parametrize("place", NO_PERMISSION)
def test_a_run_without_permission_names_the_place(own_home: Workspace, place):
    with read_only(own_home.root / place):
        is_reported(safereact("run", "--profile", PROFILE), "no permission to write", place)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_tree_is_reported_of(own_home: Workspace, command):
    subprocess.run(["git", "-C", own_home.root, "add", "profiles", "params.yaml"], check=True)
    with read_only(own_home.root):
        is_reported(invoke(*COMMANDS[command], "--profile", PROFILE), "no permission to write")


def test_a_profile_that_cannot_be_added_leaves_the_list_as_it_was(project: Workspace):
    before = project.parameters.read_text()
    project.root.joinpath("profiles", "mine.yaml").write_text(project.profile_file.read_text())
    words = ("add", "mine", "--checkpoints", str(project.root / "own"))
    with read_only(project.root):
        is_reported(safereact(*words), "no permission to write")
    assert project.parameters.read_text() == before
    done = safereact(*words)
    assert done.returncode == 0, done.stderr


def test_no_folder_for_temporary_files_is_reported_of(own_home: Workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "small"))
    with full(tmp_path / "small"):
        is_reported(safereact("run", "--profile", PROFILE), "there is no room", "small")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_reported_of(project: Workspace, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = [sys.executable, "-m", "flows.cli.main", "suites"]
    with Path("/dev/full").open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "there is no room" in done.stderr


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("print('why', file=sys.stderr); sys.exit(1)", "why"),
        ("sys.exit(3)", "safereact: the output cannot be written: No space left on device"),
        ("", "safereact: the output cannot be written: No space left on device"),
    ],
)
def test_output_that_is_lost_at_the_end_is_one_line(ending, told, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    work = f"""
import sys
from flows.runner.supervisor import supervised
def work():
    print("x")
    {ending or "pass"}
sys.exit(supervised(work, resumes=True))
"""
    with Path("/dev/full").open("w") as output:
        command = [sys.executable, "-c", work]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, f"{told}\n")


def stage_within(root: Path, stage: str, size: int) -> subprocess.CompletedProcess[str]:
    """Run one stage that may write no file larger than `size` bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    hidden = ("SAFEREACT_ROOT", "MLFLOW_TRACKING_URI")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-B", "-m", "components", stage, "--profile", "mini"],
        cwd=root,
        env={**inherited, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )


def test_a_stage_whose_disk_is_full_says_so_and_leaves_nothing(tmp_path):
    root = make_repository(tmp_path / "repository")
    done = stage_within(root, "prepare", 1000)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "prepare: there is no room" in done.stderr.splitlines()[-1], done.stderr
    assert not Workspace(root, "mini").stage("prepare").exists()


@pytest.mark.slow
def test_a_prefect_server_that_does_not_start_is_told_of(own_home: Workspace):
    own_home.prefect_home.mkdir(parents=True)
    (own_home.prefect_home / "prefect.db").write_text("no database " * 100)
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("safereact: the embedded Prefect server does")
