"""What the processes of a stage inherit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.runner.environment import stage_environment
from tests.root import ROOT


@pytest.mark.parametrize(
    "name",
    ["SAFEREACT_ROOT", "DVC_ROOT", "DVC_STAGE", "GIT_DIR", "GIT_INDEX_FILE", "PYTHONSAFEPATH"],
)
def test_nothing_speaks_of_another_repository(monkeypatch, name):
    monkeypatch.setenv(name, "there")
    monkeypatch.setenv("SAFEREACT_DEVICE", "cpu")
    environment = stage_environment()
    assert name not in environment
    assert environment["SAFEREACT_DEVICE"] == "cpu"


def test_relative_places_stay_where_they_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", "hub")
    monkeypatch.setenv("TMPDIR", "~/tmp")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = stage_environment()
    assert environment["HF_HOME"] == str(tmp_path / "hub")
    assert environment["TMPDIR"] == str(tmp_path / "tmp")
    assert environment["XDG_CACHE_HOME"] == ""


def test_python_is_this_one_and_the_shell_is_one_that_runs_commands(monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/sbin/nologin")
    environment = stage_environment()
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert environment["SHELL"] == "/bin/sh"


def test_a_copy_runs_its_own_code(tmp_path, monkeypatch):
    """Not that of an editable install, which stands for another checkout."""
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("")
    (tmp_path / "components" / "__main__.py").write_text("print(__file__)")
    command = [sys.executable, "-m", "components"]
    done = subprocess.run(
        command, cwd=tmp_path, env=stage_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "components" / "__main__.py")


def test_a_prefect_server_that_is_typed_by_hand_sends_nothing(tmp_path):
    """The quick start has such a line; Prefect reads the project file of the folder."""
    free = {key: one for key, one in os.environ.items() if "ANALYTICS" not in key}
    asked = "from prefect.settings import get_current_settings as now; print(now().server)"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=ROOT,
        env={**free, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "analytics_enabled=False" in done.stdout, done.stderr
