"""Runs a command that must not outlive whoever started it.

`kill_with_parent.py COMMAND…`, the leader of a new process group, starts the command and exits as
it does.
When its standard input closes, because the parent closed it or died however suddenly, or when the
command ends after an interrupt, everything that the command has started is killed. A parent killed
with -9 cannot clean up, and this needs no more than POSIX. The group is killed from within, so its
number cannot have been given to somebody else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_LONGEST_SECONDS = 2.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, where the system is Linux.

    Launchers such as torchrun put their processes into sessions of their own, which no signal to
    a group reaches; as descendants they are still found.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill all that this process has started and what that has started, and wait for their end."""
    import psutil

    own, latest = psutil.Process(), time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < latest:
        alive = False
        for process in own.children(recursive=True):
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    alive = True
        if not alive:
            return
        time.sleep(0.01)


def _end_at_end_of_input(ending: threading.Event) -> None:
    while os.read(0, 1):
        pass
    ending.set()
    _end_group()


def _end_group() -> None:
    end_descendants()
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run `command`; return its exit code, 128 + n where signal n ended it."""
    ending = threading.Event()
    # An interrupt is for the command; this process stays to see that nothing is left of it.
    signal.signal(signal.SIGINT, lambda *_: ending.set())
    adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_at_end_of_input, args=(ending,), daemon=True).start()
    code = child.wait()
    if ending.is_set():  # the command may have been killed before what it had started
        _end_group()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
