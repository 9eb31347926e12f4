"""No room, no permission: one message that names the place, and nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from components.chain import STAGES
from components.core.paths import Workspace
from components.core.storage import digest_folder
from tests.chain import make_repository
from tests.chain import safereact as safereact_in
from tests.disks import full, read_only
from tests.flows.conftest import PROFILE, safereact

PLACES = (".dvc/tmp", "artifacts", "data/prepared", "mlruns", ".prefect")
EACH_PLACE = [p if p == ".prefect" else pytest.param(p, marks=pytest.mark.slow) for p in PLACES]
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


@pytest.mark.parametrize("place", EACH_PLACE)
def test_a_run_without_room_names_the_place(own_home: Workspace, place):
    with full(own_home.root / place):
        is_reported(safereact("run", "--profile", PROFILE), "there is no room", place)


@pytest.mark.parametrize("place", EACH_PLACE)
def test_a_run_without_permission_names_the_place(own_home: Workspace, place):
    with read_only(own_home.root / place):
        is_reported(safereact("run", "--profile", PROFILE), "no permission to write", place)


@pytest.mark.parametrize(
    "command", [c if c == "run" else pytest.param(c, marks=pytest.mark.slow) for c in COMMANDS]
)
def test_a_read_only_tree_is_reported_of(own_home: Workspace, command):
    with read_only(own_home.root):
        is_reported(safereact(*COMMANDS[command], "--profile", PROFILE), "no permission to write")


def test_a_profile_that_cannot_be_added_leaves_the_list_as_it_was(project: Workspace):
    before = project.parameters.read_text()
    project.root.joinpath("profiles", "mine.yaml").write_text(project.profile_file.read_text())
    words = ("add", "mine", "--checkpoints", str(project.root / "own"), "--prompts")
    with read_only(project.root):
        is_reported(safereact(*words, str(project.root / "own")), "no permission to write")
    assert project.parameters.read_text() == before
    done = safereact(*words, str(project.root / "own"))
    assert done.returncode == 0, done.stderr


def test_no_folder_for_temporary_files_is_reported_of(own_home: Workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "small"))
    with full(tmp_path / "small"):
        is_reported(safereact("run", "--profile", PROFILE), "there is no room", "small")


def test_output_that_cannot_be_written_is_reported_of(project: Workspace):
    command = [sys.executable, "-m", "flows.cli.main", "profiles"]
    with Path("/dev/full").open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "there is no room" in done.stderr


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


def is_reported_by_stage(done: subprocess.CompletedProcess[str], stage: str) -> None:
    assert done.returncode == 1, (stage, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert f"{stage}: there is no room" in done.stderr.splitlines()[-1], done.stderr


def test_a_stage_whose_disk_is_full_says_so_and_leaves_nothing(tmp_path):
    root = make_repository(tmp_path / "repository")
    is_reported_by_stage(stage_within(root, "prepare", 1000), "prepare")
    assert not Workspace(root, "mini").stage("prepare").exists()


@pytest.mark.slow
def test_a_full_disk_in_any_stage_is_reported_of_and_the_old_result_stays(tmp_path):
    root = make_repository(tmp_path / "repository")
    done = safereact_in(root, "run", "--profile", "mini")
    assert done.returncode == 0, done.stderr
    for stage in STAGES:
        folder = Workspace(root, "mini").stage(stage)
        before = digest_folder(folder)
        for size in (100, 1000):
            is_reported_by_stage(stage_within(root, stage, size), stage)
            assert digest_folder(folder) == before
    again = safereact_in(root, "run", "--profile", "mini")
    assert again.returncode == 0 and again.stdout.count("up to date") == len(STAGES), again.stdout


def test_a_prefect_server_that_does_not_start_is_told_of(own_home: Workspace):
    own_home.prefect_home.mkdir(parents=True)
    (own_home.prefect_home / "prefect.db").write_text("no database " * 100)
    done = safereact("run", "--profile", PROFILE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("safereact: the embedded Prefect server does")
