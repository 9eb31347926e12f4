"""Runs a command that must not outlive whoever started it.

`leash.py COMMAND…`, the leader of a new process group, starts the command and exits as it does.
When its standard input closes, because the parent closed it or died however suddenly, or when the
command ends after an interrupt, the whole group is killed. A parent killed with -9 cannot clean
up, and this needs nothing but POSIX. The group is killed from within, so its number cannot have
been given to somebody else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _kill_group_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run `command`; return its exit code, 128 + n where signal n ended it."""
    interrupts: list[int] = []
    # An interrupt is for the command; this process stays to see that nothing is left of it.
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_group_at_end_of_input, daemon=True).start()
    code = child.wait()
    if interrupts:
        os.killpg(0, signal.SIGKILL)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
