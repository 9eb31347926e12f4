"""Stages through a real DVC: skipped, run, failed, killed, interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from components.chain import STAGES
from components.core.errors import BusyError, ConfigError, StageError
from components.core.paths import Workspace
from flows.runner.dvc import run_stage, stale_stages
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile
from tests.flows.conftest import behave, wait_for_stage

PREPARE_IN_A_CHILD = (
    "import sys; from pathlib import Path; from components.core.paths import Workspace; "
    "from flows.runner.dvc import run_stage; "
    "run_stage('prepare', Workspace(Path(sys.argv[1]), 'demo'), print)"
)


def test_a_stage_runs_once_and_is_then_up_to_date(project: Workspace):
    assert stale_stages(project) == set(STAGES)
    lines: list[str] = []
    run_stage("prepare", project, lines.append)
    assert lines == ["working on prepare"]
    assert "Running stage 'prepare-demo'" in project.log("prepare").read_text()
    assert stale_stages(project) == set(STAGES) - {"prepare"}
    behave(project, "prepare", "do again")
    assert "prepare" in stale_stages(project)


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("fail source 'own' has no rows", StageError, "prepare: source 'own' has no rows"),
        ("fail unknown key", ConfigError, "prepare: unknown key"),
        ("crash of its own", StageError, "prepare failed: RuntimeError: of its own; its whole"),
        ("die", StageError, "prepare was killed by signal 9; out of memory"),
    ],
)
def test_a_failed_stage_says_why_in_one_message(project: Workspace, what, kind, message):
    behave(project, "prepare", what)
    with pytest.raises(kind) as caught:
        run_stage("prepare", project, lambda line: None)
    assert str(caught.value).startswith(message)
    assert "Traceback" not in str(caught.value) and "reproduce" not in str(caught.value)


def test_what_dvc_says_without_its_mark_is_told(project: Workspace):
    project.lock.write_text("- no mapping\n")
    with pytest.raises(StageError, match=r"dvc status: .*dvc\.lock' validation failed"):
        stale_stages(project)


def test_a_missing_input_is_named(project: Workspace):
    with pytest.raises(StageError, match=r"models.*data/prepared/demo"):
        run_stage("models", project, lambda line: None)


def start_and_wait(project: Workspace) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """Return a process that runs a stage, and all that it has started once the stage works."""
    behave(project, "prepare", "sleep")
    parent = subprocess.Popen([sys.executable, "-c", PREPARE_IN_A_CHILD, str(project.root)])
    wait_for_stage(project, parent)
    return parent, psutil.Process(parent.pid).children(recursive=True)


def wait_until_gone(group: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(group, timeout=40)
    assert not alive, f"these live on: {alive}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_stage_dies_with_its_parent_and_the_next_run_recovers(project: Workspace, number):
    parent, started = start_and_wait(project)
    parent.send_signal(number)
    assert parent.wait(50) != 0
    wait_until_gone(started)
    assert not project.stage("prepare").exists()
    if number == signal.SIGINT:  # the stage cleans up after itself
        assert list(project.stage("prepare").parent.iterdir()) == []
    behave(project, "prepare", "do")
    run_stage("prepare", project, lambda line: None)
    assert project.stage("prepare").is_dir()


def test_another_dvc_process_is_named(project: Workspace):
    parent, _ = start_and_wait(project)
    try:
        with pytest.raises(BusyError, match=r"process \d+ .*works in this repository"):
            run_stage("prepare", project, lambda line: None)
    finally:
        parent.send_signal(signal.SIGINT)
        parent.wait(50)


def test_one_run_at_a_time(tmp_path: Path):
    with (
        one_run(tmp_path, "retrain demo"),
        pytest.raises(BusyError, match=f"retrain demo, process {os.getpid()} on"),
        one_run(tmp_path, "other"),
    ):
        pass
    with one_run(tmp_path, "other"):
        pass


# Holds the repository, leaves a temporary file of its own and one of a child's, and is killed.
KILLED = """
import os, subprocess, sys, tempfile
from pathlib import Path
from flows.runner.lock import one_run

with one_run(Path(sys.argv[1]), "retrain demo"):
    tempfile.mkstemp()
    subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp()"], check=True)
    os.kill(os.getpid(), 9)
"""


def test_temporary_files_of_a_run_go_with_it_or_with_the_next(tmp_path: Path, monkeypatch):
    scratch, root = tmp_path / "scratch", tmp_path / "repository"
    for folder in (scratch, root):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False)
    assert done.returncode == -9
    (left,) = scratch.iterdir()
    assert len(list(left.iterdir())) == 2
    with one_run(root, "the next run"):
        (own,) = scratch.iterdir()
        assert own != left and Path(tempfile.mkdtemp()).parent == own
    assert list(scratch.iterdir()) == []
    assert (os.environ["TMPDIR"], tempfile.gettempdir()) == (str(scratch), str(scratch))


def test_a_run_within_a_stage_is_refused(project: Workspace, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train@demo")
    with pytest.raises(ConfigError, match="inside a DVC stage"):
        check_profile(project)


def test_a_profile_that_dvc_does_not_know_is_refused(project: Workspace):
    other = Workspace(project.root, "other")
    other.profile_file.write_text(project.profile_file.read_text())
    with pytest.raises(ConfigError, match=r"not listed in params\.yaml; `safereact add other "):
        check_profile(other)


@pytest.mark.slow  # DVC is asked three times
def test_settings_are_stale_where_a_value_is_another_one(finished: Workspace):
    """A default that is written out is none, nor is a section that is left out; of what a profile
    extends the stages are stale whose section changes."""
    project = finished
    text, profiles = project.profile_file.read_text(), project.profile_file.parent
    (profiles / "bases").mkdir()
    base = profiles / "bases" / "all.yaml"
    base.write_text(text)
    project.profile_file.write_text("extends: bases/all\nreport: {redact: true}\n")
    assert stale_stages(project) == set()
    base.write_text(text.replace("report: {}", "report: {title: T}"))
    assert stale_stages(project) == {"report"}
    project.profile_file.write_text("extends: bases/none\n")
    assert stale_stages(project) == set(STAGES)


def test_a_profile_depends_on_the_files_that_it_names_and_on_nothing_beside_them(
    finished: Workspace, tmp_path: Path
):
    """One lies behind a link, which DVC does not follow in folders."""
    project, far = finished, tmp_path / "far"
    far.mkdir()
    (project.root / "linked").symlink_to(far)
    data, named = project.root / "data" / "embedded" / "tiny", far / "own.jsonl"
    shutil.copy(data / "train.jsonl", named)
    text = project.profile_file.read_text()
    old, new = "data/embedded/tiny/train.jsonl", "linked/own.jsonl"
    project.profile_file.write_text(text.replace(old, new))
    assert "prepare" in stale_stages(project)
    run_stage("prepare", project, lambda line: None)
    others = stale_stages(project)
    assert "prepare" not in others
    for beside in (data, far, project.root / "data" / "suites"):
        (beside / "unrelated.yaml").write_text("x: 1\n")
    (data / "train.jsonl").write_text("")  # the profile no longer names it
    assert stale_stages(project) == others
    kept = named.read_bytes()
    named.write_bytes(kept + b"\n")
    assert stale_stages(project) == {*others, "prepare"}
    named.write_bytes(kept)
    assert stale_stages(project) == others
    named.unlink()
    assert stale_stages(project) == {*others, "prepare"}
    with pytest.raises(StageError, match=r"own\.jsonl"):
        run_stage("prepare", project, lambda line: None)


def test_a_folder_that_is_not_there_is_named(project: Workspace):
    text = project.parameters.read_text()
    project.parameters.write_text(text.replace("checkpoints: own", "checkpoints: away"))
    with pytest.raises(ConfigError, match=r"checkpoints of .* in params\.yaml is 'away'"):
        check_profile(project)
