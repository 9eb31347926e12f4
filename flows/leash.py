"""Runs a command that must not outlive whoever started it.

`leash.py COMMAND…` starts the command in its own process group and exits as it does. When its
standard input closes, because the parent closed it or died however suddenly, the whole group is
killed. This works where a parent killed with -9 can no longer clean up, and on every POSIX system.
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
    # An interrupt is for the command; it ends, and this process after it.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_group_at_end_of_input, daemon=True).start()
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
