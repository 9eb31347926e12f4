"""The embedded Prefect server ends with the process that has started it."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

START = """
import os, subprocess, sys, time
from flows.runner.prefect_server import start_prefect_server

start_prefect_server()
with open(os.devnull, "w") as nowhere:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen(sleeper, stdout=nowhere, stderr=nowhere)
print(flush=True)
time.sleep(600)
"""
SECONDS = 10.0  # on a busy machine; `make test-chaos` measures it


def test_a_server_does_not_outlive_a_parent_that_is_killed_outright():
    parent = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline()
    server, stage = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    wait_until_gone(server)
    stage.kill()


def test_a_process_whose_server_is_killed_ends_with_all_that_it_started_and_says_so():
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", START], text=True, **streams)
    assert parent.stdout and parent.stdout.readline()
    server, stage = psutil.Process(parent.pid).children()
    server.kill()
    _, errors = parent.communicate(timeout=SECONDS)
    assert parent.returncode == 1
    assert errors.startswith("safereact: the embedded Prefect server was killed by signal 9")
    assert errors.count("\n") == 1
    wait_until_gone(stage)


def wait_until_gone(process: psutil.Process) -> None:
    """Return once the process has ended; fail where it lives on."""
    latest = time.monotonic() + SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < latest, "it outlived its parent"
        time.sleep(0.02)
