"""The embedded Prefect server ends with the process that has started it."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

START = """
import time
from flows.runner.prefect_server import start_prefect_server

start_prefect_server()
print(flush=True)
time.sleep(600)
"""
SECONDS = 10.0  # on a busy machine; `make test-chaos` measures it


def test_a_server_does_not_outlive_a_parent_that_is_killed_outright():
    parent = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline()
    (server,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    latest = time.monotonic() + SECONDS
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < latest, "the server outlived its parent"
        time.sleep(0.02)
