"""A second machine restores from a DVC remote what the first has run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.core.storage import digest_folder
from flows.runner.dvc import call_dvc, run_stage, stale_stages
from tests.flows.conftest import PROFILE


def dvc(workspace: Workspace, *words: str) -> str:
    done = call_dvc(workspace, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # two clones
def test_a_second_machine_skips_what_the_first_has_run(
    project: Workspace, empty_project: Path, tmp_path: Path
):
    """Once with the first machine's `dvc.lock`, once by the run cache alone."""
    for name in ("with its record", "by the run cache"):
        shutil.copytree(empty_project, tmp_path / name, symlinks=True)
    dvc(project, "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    run_stage("prepare", project, lambda line: None)
    dvc(project, "push", "--run-cache")
    made = digest_folder(project.stage("prepare"))

    for name in ("with its record", "by the run cache"):
        second = Workspace(tmp_path / name, PROFILE)
        shutil.copy(project.root / ".dvc" / "config", second.root / ".dvc")
        if name == "with its record":
            shutil.copy(project.lock, second.lock)
            dvc(second, "pull", f"prepare-{PROFILE}")
            assert stale_stages(second, ["prepare"]) == set()
        else:
            dvc(second, "fetch", "--run-cache", "inputs")
            printed = dvc(second, "repro", "--pull", "--single-item", f"prepare-{PROFILE}")
            assert "cached" in printed and "working on prepare" not in printed
        assert digest_folder(second.stage("prepare")) == made
