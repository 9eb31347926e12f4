"""The embedded store is whole or not there, whatever ends the process that makes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from components.registry.mlflow_client import address_of, client_of

MAKE = (
    "import sys; from pathlib import Path; "
    "from components.registry.mlflow_client import address_of, client_of; "
    "print('begin', flush=True); client_of(address_of(None, Path(sys.argv[1])))"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    return tmp_path / "mlruns"


@pytest.mark.slow  # processes of their own
@pytest.mark.parametrize("patience", [0.2, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_kill_while_it_is_made_leaves_none(folder, patience):
    made = subprocess.Popen([sys.executable, "-c", MAKE, str(folder)], stdout=subprocess.PIPE)
    made.stdout.readline()
    while made.poll() is None and not list(folder.glob("*/mlflow.db")):
        time.sleep(0.01)
    time.sleep(patience)
    os.kill(made.pid, signal.SIGKILL)
    made.wait()
    client = client_of(address_of(None, folder))
    assert [found.name for found in client.search_experiments()] == ["Default"]


@pytest.mark.slow  # processes of their own
def test_two_that_make_it_at_once_have_one(folder):
    command = [sys.executable, "-c", MAKE, str(folder)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [made.wait() for made in both] == [0, 0]
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    client = client_of(address_of(None, folder))
    assert [found.name for found in client.search_experiments()] == ["Default"]
