"""A stage that is killed in a process of its own while it asks a model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.root import ROOT


def start(module: str, call: str, *arguments: Path | str) -> subprocess.Popen:
    """Run the function `call` of a module on `arguments`, as strings, in a process of its own."""
    code = f"import sys; from {module} import {call}; {call}(*sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)


def kill_midway(child: subprocess.Popen, store: Path, lines: int) -> int:
    """Kill a process as soon as `store` has so many lines; return how many it had at the end."""
    while child.poll() is None and (
        not store.is_file() or len(store.read_text().splitlines()) < lines
    ):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was done before it could be killed"
    return len(store.read_text().splitlines())
