"""`safereact ui`: MLflow on the right store, and nothing written elsewhere."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from components.core.errors import RegistryError
from flows.cli.servers import ui
from tests.flows.conftest import invoke
from tests.root import ROOT


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing in it."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("SAFEREACT_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_is_named_without_its_password(repository: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@mlflow.example:5000")
    done = invoke("ui")
    assert done.returncode == 0
    assert "http://mlflow.example:5000" in done.stdout and "secret" not in done.stdout
    assert "prefect server start" in done.stdout


def test_no_command_shows_the_password_of_a_database(repository: Path, monkeypatch):
    address, called = "postgresql://me:secret@db.example/mlflow", []

    def run(command, **settings):
        called.append((command, settings["env"]["MLFLOW_BACKEND_STORE_URI"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(subprocess, "run", run)
    ui(free_port())
    ((command, given),) = called
    assert given == address and "secret" not in " ".join(command)


@pytest.mark.parametrize(("code", "how"), [(1, "with exit code 1"), (-9, "by signal 9")])
def test_a_server_that_did_not_end_well_is_no_success(repository: Path, monkeypatch, code, how):
    ended = subprocess.CompletedProcess([], code)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RegistryError, match=how):
        ui(free_port())


def test_a_port_that_is_taken_is_an_error_before_anything_is_named(repository: Path):
    # MLflow's server says so in its log and ends with 0, and another's page is at the address.
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = invoke("ui", "--port", port)
    assert done.returncode == 2 and f":{port} " in done.stderr and "--port" in done.stderr
    assert "http://" not in done.stdout


def test_the_pages_named_are_those_that_a_run_names(repository: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    for profile, folders in (("one", ("report", "studies")), ("other", ("report",))):
        for folder in folders:
            page = repository / "artifacts" / profile / folder / "report.html"
            page.parent.mkdir(parents=True)
            page.touch()
    named = [line for line in invoke("ui").stdout.splitlines() if line.startswith("report: ")]
    assert named == [
        "report: artifacts/one/studies/report.html",
        "report: artifacts/other/report/report.html",
    ]


@pytest.mark.slow
def test_the_embedded_store_is_served_and_nothing_is_written_beside_it(repository: Path):
    before, port = {path.name for path in repository.iterdir()}, free_port()
    command = [sys.executable, "-m", "flows.cli.main", "ui", "--port", str(port)]
    process = subprocess.Popen(command, cwd=repository)
    try:
        latest = time.monotonic() + 180
        while time.monotonic() < latest and process.poll() is None:
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(1)
        assert httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
    assert {path.name for path in repository.iterdir()} - before <= {"mlruns"}
    assert {path.name for path in (repository / "mlruns").iterdir()} <= {"artifacts", "mlflow.db"}
