"""The embedded Prefect server ends with the process that has started it."""

from __future__ import annotations

import os
import signal
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


def test_what_ends_the_whole_group_is_an_end_from_outside(tmp_path):
    code = """
import os, sys, time
from pathlib import Path
from flows.runner.prefect_server import start_prefect_server
from flows.runner.supervisor import supervised

def work():
    start_prefect_server()
    Path("group").write_text(str(os.getpgid(0)))
    try:
        time.sleep(600)
    finally:
        time.sleep(1)
        Path("unwound").touch()

sys.exit(supervised(work, resumes=True))
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    group, latest = tmp_path / "group", time.monotonic() + SECONDS
    while not (group.is_file() and group.read_text()):
        assert time.monotonic() < latest
        time.sleep(0.05)
    os.killpg(int(group.read_text()), signal.SIGTERM)
    _, errors = parent.communicate(timeout=SECONDS)
    assert parent.returncode == 143 and errors.startswith("safereact: terminated; ")
    assert (tmp_path / "unwound").exists()


def wait_until_gone(process: psutil.Process) -> None:
    """Return once the process has ended; fail where it lives on."""
    latest = time.monotonic() + SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < latest, "it outlived its parent"
        time.sleep(0.02)
