"""A stage that is killed in a process of its own while it asks a model."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.root import ROOT

# However busy the machine is, the process ends as soon as it has put so many lines on the disk.
_DIES = """
import os
from components.core.journal import Journal
append, there = Journal.append, []
def append_and_die(journal, lines):
    append(journal, lines := list(lines))
    there.extend(lines)
    if len(there) >= {lines}:
        os.kill(os.getpid(), {signal})
Journal.append = append_and_die
"""


def start(module: str, call: str, *arguments: Path | str, begin: str = "") -> subprocess.Popen:
    """Run the function `call` of a module on `arguments`, as strings, in a process of its own."""
    code = f"{begin}\nimport sys; from {module} import {call}; {call}(*sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)


def kill_midway(store: Path, lines: int, module: str, call: str, *arguments: Path | str) -> int:
    """Start a process that dies as soon as `store` has so many lines; return how many it has."""
    dies = _DIES.format(lines=lines, signal=int(signal.SIGKILL))
    assert start(module, call, *arguments, begin=dies).wait() == -signal.SIGKILL
    return len(store.read_text().splitlines())
